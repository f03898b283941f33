"""Which columns of a table a ``TrainingSpec`` chooses, how they are used, and whether a training can use them so.

The schema is all that is needed, so that a job that cannot work is refused when it is submitted.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

from dropout_service.datasets.decisions import unusable
from dropout_service.errors import FieldError, InvalidInputError, pointer_to
from dropout_service.training.columns.category import MOST_CATEGORIES
from dropout_service.training.columns.code import MOST_CODES
from dropout_service.training.columns.date import MOST_DATE_COLUMNS
from dropout_service.training.columns.text import TEXT_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dropout_service.datasets.dataset import Column, TableSchema
    from dropout_service.training.spec import ColumnKind, TrainingSpec

__all__ = ["Choice", "choose", "no_column"]

_MAX_FLOAT_CLASSES: Final = 20
_MAX_CLASSES: Final = 1000
_SHOWN: Final = 5
_MOST_FAULTS: Final = 20
_MAX_NAME_CHARS: Final = 200


@dataclass(frozen=True, slots=True)
class Choice:
    """The columns that a spec chooses from a table.

    Parameters
    ----------
    features, targets, weights
        The columns: of a classification one target, and of weights one or none.
    kinds
        How each feature is used: a kind of ``training.columns.ENCODERS``.
    """

    features: tuple[Column, ...]
    targets: tuple[Column, ...]
    kinds: tuple[ColumnKind, ...]
    weights: tuple[Column, ...] = ()

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """What each column that the network reads is, see ``ColumnEncoder.cardinalities``.

        There are so many columns and codes at most; exactly where all features are numbers without gaps.
        """
        pairs = zip(self.features, self.kinds, strict=True)
        return tuple(cardinality for column, kind in pairs for cardinality in _cardinalities(column, kind))

    @property
    def many_valued(self) -> dict[str, int]:
        """Categories that have more values than columns, by name, with the number of these columns."""
        return {
            column.name: len(_cardinalities(column, kind))
            for column, kind in zip(self.features, self.kinds, strict=True)
            if kind == "category" and column.distinct > MOST_CATEGORIES
        }


def choose(schema: TableSchema, spec: TrainingSpec) -> Choice:
    """Find the columns that a spec names and check that a training can use them.

    Raises
    ------
    InvalidInputError
        With pointers into the spec.
    """
    targets = _targets(schema, spec)
    weights = _weights(schema, spec, targets)
    for pointer, target in targets.items():
        _check_target(schema, spec, target, pointer)
    _check_rows(schema, spec, next(iter(targets.values())))
    features, pointers = _features(schema, spec, targets)
    kinds: tuple[ColumnKind, ...] = tuple(spec.data.kind_of(column.name, default="number") for column in features)
    faults = [
        fault
        for column, kind in zip(features, kinds, strict=True)
        for fault in _feature_faults(column, kind, pointers.get(column.name))
    ]
    if faults:
        raise InvalidInputError(_summary(faults, len(features)), errors=faults)
    return Choice(features, tuple(targets.values()), kinds, weights)


def _targets(schema: TableSchema, spec: TrainingSpec) -> dict[str, Column]:
    """Find the target columns, by where in the spec each of them is named."""
    asked = spec.data.target
    if not isinstance(asked, tuple):
        asked = (schema.target if asked is None else asked,)
    found: dict[str, Column] = {}
    for index, name in enumerate(asked):
        pointer = "/data/target" if len(asked) == 1 else f"/data/target/{index}"
        column = schema.column(name)
        if column is None:
            raise InvalidInputError.at(pointer, no_column(schema, name))
        if name in asked[:index]:
            raise InvalidInputError.at(pointer, f"`{name}` is named twice")
        found[pointer] = column
    return found


def _features(
    schema: TableSchema, spec: TrainingSpec, targets: Mapping[str, Column]
) -> tuple[tuple[Column, ...], dict[str, str]]:
    """Find the feature columns, and where in the spec each of them is named."""
    if spec.data.features is None:
        return _all_but(schema, spec, targets), {}
    if not spec.data.features:
        raise InvalidInputError.at("/data/features", "name at least one feature column, or leave `features` out")
    target_names = {target.name for target in targets.values()}
    by_name = {column.name: column for column in schema.columns}
    faults: list[FieldError] = []
    pointers: dict[str, str] = {}
    for index, name in enumerate(spec.data.features):
        if len(faults) == _MOST_FAULTS:  # looking for close names takes milliseconds each
            break
        pointer = f"/data/features/{index}"
        if name in target_names:
            faults.append(FieldError(pointer, f"`{name}` is the target; it cannot be a feature too"))
        elif name == spec.data.weight:
            faults.append(FieldError(pointer, f"`{name}` is the weight of the rows; it cannot be a feature too"))
        elif name not in by_name:
            faults.append(FieldError(pointer, no_column(schema, name)))
        elif name in pointers:
            faults.append(FieldError(pointer, f"`{name}` is named twice"))
        else:
            pointers[name] = pointer
    if faults:
        raise InvalidInputError(faults[0].message, errors=faults)
    return tuple(by_name[name] for name in spec.data.features), pointers


def _all_but(schema: TableSchema, spec: TrainingSpec, targets: Mapping[str, Column]) -> tuple[Column, ...]:
    names, weight_name = [target.name for target in targets.values()], spec.data.weight
    others = tuple(column for column in schema.columns if column.name not in {*names, weight_name})
    if not others:
        besides = "" if weight_name is None else f" beside the weight `{weight_name}`"
        only = f"`{names[0]}` is the only column" if len(names) == 1 else "the targets are the only columns"
        message = f"{only}{besides}; there is none to predict {'it' if len(names) == 1 else 'them'} from"
        raise InvalidInputError.at("/data/target", message)
    left_out = {name for name, chosen in (spec.data.columns or {}).items() if not chosen.use}
    features = tuple(column for column in others if column.name not in left_out)
    if not features:
        message = (
            f"none of the {len(others):,} columns beside the target is used: each is empty, constant, an identifier, "
            "or left out by `columns`; name those to use in `features`"
        )
        raise InvalidInputError.at("/data/columns", message)
    return features


def _weights(schema: TableSchema, spec: TrainingSpec, targets: Mapping[str, Column]) -> tuple[Column, ...]:
    """Find the column that rows are weighted with, and check that it can be."""
    name, pointer = spec.data.weight, "/data/weight"
    if name is None:
        return ()
    column = schema.column(name)
    if column is None:
        raise InvalidInputError.at(pointer, no_column(schema, name))
    if column in targets.values():
        raise InvalidInputError.at(pointer, f"`{name}` is the target; it cannot be the weight too")
    if column.type not in {"integer", "number"} or column.min is None or column.max is None:
        raise InvalidInputError.at(pointer, f"column `{name}` is {column.type}; a weight is a number, 0 or more")
    if column.bad or column.missing:
        message = f"weight `{name}` has {_cells(column.bad + column.missing)} without a finite number; fill them in"
        raise InvalidInputError.at(pointer, message)
    if column.min < 0:
        raise InvalidInputError.at(pointer, f"weight `{name}` goes down to {column.min:g}; a weight is 0 or more")
    if column.max == 0:
        raise InvalidInputError.at(pointer, f"weight `{name}` is 0 in every row; some rows have to count")
    return (column,)


def _feature_faults(column: Column, kind: ColumnKind, pointer: str | None) -> list[FieldError]:
    message = unusable(column, kind)
    return [] if message is None else [FieldError(pointer or pointer_to(("data", "columns", column.name)), message)]


def _cardinalities(column: Column, kind: ColumnKind) -> tuple[int, ...]:
    """Return what the encoder of a column gives at most, see ``ColumnEncoder.cardinalities``."""
    gaps = int(column.missing > 0)
    codes = min(column.distinct, MOST_CODES) if column.distinct_exact else MOST_CODES
    return {
        "number": (0, 1)[: 1 + gaps],
        "boolean": (1, 1)[: 1 + gaps],
        "category": (1,) * (min(column.distinct, MOST_CATEGORIES) + 1 + gaps),
        "code": (max(2, 1 + codes + gaps),),
        "date": (0,) * MOST_DATE_COLUMNS,
        "text": (0,) * TEXT_COLUMNS,
    }[kind]


def _check_rows(schema: TableSchema, spec: TrainingSpec, target: Column) -> None:
    rows = schema.rows - target.missing
    if rows < 2:  # noqa: PLR2004 - one row has no variance
        having = " with a value of the target" if target.missing else ""
        raise InvalidInputError.at("/data", f"the dataset has {rows} row{having}; a training needs at least 2")
    if spec.task == "classification" and spec.validation_fraction > 0 and target.distinct == rows:
        raise InvalidInputError.at(
            "/validation_fraction",
            f"each of the {rows:,} rows has a class of its own, so none can be held out for validation; "
            "give more rows, or set it to 0",
        )


def _check_target(schema: TableSchema, spec: TrainingSpec, target: Column, pointer: str) -> None:
    name = target.name
    if target.bad:
        raise InvalidInputError.at(
            pointer, f"target `{name}` has {_cells(target.bad)} that {_are(target.bad)} no finite number"
        )
    distinct = f"{target.distinct:,}" if target.distinct_exact else f"more than {target.distinct:,}"
    if spec.task == "regression":
        if target.type == "text":
            raise InvalidInputError.at(
                "/task", f"target `{name}` is text ({distinct} distinct values); use task `classification`"
            )
        return
    if target.distinct == 1:
        raise InvalidInputError.at(
            pointer, f"every row of target `{name}` has the same value; a classification needs two classes or more"
        )
    many = _MAX_FLOAT_CLASSES if target.type == "number" else _MAX_CLASSES
    uncounted = not target.distinct_exact
    too_many = target.distinct > many or (target.distinct > _MAX_FLOAT_CLASSES and 2 * target.distinct > schema.rows)
    if uncounted or too_many:
        right = "choose another target" if target.type == "text" else "use task `regression`"
        raise InvalidInputError.at(
            "/task",
            f"target `{name}` has {distinct} distinct values in {schema.rows:,} rows, too many classes; {right}",
        )


def no_column(schema: TableSchema, name: str) -> str:
    """Say that there is no column of a name, with the closest that there is."""
    names = [column.name for column in schema.columns]
    name = name[:_MAX_NAME_CHARS]
    close = get_close_matches(name, names, n=1)
    if close:
        return f'there is no column "{name}"; did you mean "{close[0]}"?'
    shown = ", ".join(f'"{column}"' for column in names[:10])
    return f'there is no column "{name}"; the columns are {shown}{", ..." if len(names) > len(shown) else ""}'


def _summary(faults: Sequence[FieldError], features: int) -> str:
    if len(faults) == 1:
        return faults[0].message
    more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
    shown = "; ".join(fault.message for fault in faults[:_SHOWN])
    return f"{len(faults)} of {features} feature columns cannot be used: {shown}{more}"


def _cells(count: int) -> str:
    return f"{count:,} cell" if count == 1 else f"{count:,} cells"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"
