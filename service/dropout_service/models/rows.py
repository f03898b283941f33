"""Rows to predict, from the forms in which people have them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from dropout_service.errors import InvalidInputError, pointer_to
from dropout_service.training.columns.cells import as_flag, as_label, as_number, as_seconds
from dropout_service.training.columns.names import missing_column

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from dropout_service.training.columns import ColumnEncoder
    from dropout_service.training.trained import TrainedModel

__all__ = ["Rows", "rows_of_array", "rows_of_records"]

_NUMERIC: Final = ("number", "boolean")
_OF_VALUE: Final[Mapping[str, Callable[[Any], float]]] = {
    "number": as_number,
    "boolean": as_flag,
    "date": as_seconds,
}
"""How a value is read in a column that is not of texts."""
_CHUNK_ROWS: Final = 4096
_SHOWN_CHARS: Final = 40


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Raw rows, as ``training.columns.RawColumn`` has them, of all features.

    Parameters
    ----------
    x
        Shape (rows, features), of any numeric type; NaN where there is no value.
    texts
        For each feature the texts that its values are indices of; empty where it is none of text.
    """

    x: NDArray[Any]
    texts: tuple[tuple[str, ...], ...]


def rows_of_array(model: TrainedModel, x: NDArray[Any]) -> Rows:
    """Take the features in their order from an array.

    Parameters
    ----------
    model
        All of its features are numbers or truth values.
    x
        Shape (rows, features), numeric. NaN stands for a gap where training rows had gaps; all else is finite.

    Raises
    ------
    InvalidInputError
        It is not such an array.
    """
    kinds = [encoder.kind for encoder in model.encoders.columns]
    for name, kind in zip(model.feature_names, kinds, strict=True):
        if kind not in _NUMERIC:
            message = f"an array has numbers, and column `{name}` is one of kind {kind}; send `records` by column name"
            raise InvalidInputError.at("/x", message)
    features = len(kinds)
    if x.ndim != 2 or x.shape[1] != features:  # noqa: PLR2004 - rows and columns
        raise InvalidInputError.at("/x", f"shape {x.shape}; the model takes (rows, {features})")
    if not x.shape[0]:
        raise InvalidInputError.at("/x", "no rows; give one or more")
    if x.dtype.kind not in "fiub":
        raise InvalidInputError.at("/x", f"dtype {x.dtype}; the model takes real numbers")
    may_be_missing = np.array([getattr(encoder, "gaps", False) for encoder in model.encoders.columns])
    for begin in range(0, len(x), _CHUNK_ROWS):
        part = x[begin : begin + _CHUNK_ROWS]
        good = np.isfinite(part) | (np.isnan(part) & may_be_missing)
        if not good.all():
            row, column = np.argwhere(~good)[0]
            value, name = float(part[row, column]), model.feature_names[column]
            hint = "; `records` may leave a value out (null)" if np.isnan(value) else ""
            raise InvalidInputError.at(f"/x/{begin + row}/{column}", f"{value} (column `{name}`) is not finite{hint}")
    return Rows(x, ((),) * features)


def rows_of_records(model: TrainedModel, records: Sequence[Any]) -> Rows:
    """Take the features by their names.

    Parameters
    ----------
    model
        What is to predict.
    records
        One object for each row, with a value for each feature; null where there is none. Other names are left aside,
        as a table has more columns than its features.

    Raises
    ------
    InvalidInputError
        No records, one that is no object, a feature that one lacks, or a value that its column cannot have; with a
        pointer to it.
    """
    if not records:
        raise InvalidInputError.at("/records", "no rows; give one or more")
    for row, record in enumerate(records):
        if not isinstance(record, dict):
            raise InvalidInputError.at(f"/records/{row}", "a record is an object, from names of columns to values")
    x = np.empty((len(records), len(model.feature_names)))
    texts: list[tuple[str, ...]] = []
    for index, (name, encoder) in enumerate(zip(model.feature_names, model.encoders.columns, strict=True)):
        values, labels = _column(cast("Sequence[dict[str, Any]]", records), name, encoder)
        x[:, index] = values
        texts.append(labels)
    return Rows(x, tuple(texts))


def _column(
    records: Sequence[dict[str, Any]], name: str, encoder: ColumnEncoder
) -> tuple[list[float], tuple[str, ...]]:
    labels: dict[str, float] = {}

    def index_of(value: Any) -> float:
        return labels.setdefault(as_label(value), float(len(labels)))

    read = _OF_VALUE.get(encoder.kind, index_of)
    values: list[float] = []
    for row, record in enumerate(records):
        value = record.get(name, _ABSENT)
        if value is _ABSENT:
            raise _absent(row, record, name)
        try:
            values.append(np.nan if value is None else read(value))
        except ValueError as error:
            pointer = pointer_to(("records", row, name))
            message = f"{_shown(value)} (column `{name}`, {encoder.kind}) {error}; null where there is no value"
            raise InvalidInputError.at(pointer, message) from error
    return values, tuple(labels)


_ABSENT: Final = object()


def _absent(row: int, record: dict[str, Any], name: str) -> InvalidInputError:
    message = missing_column(name, record)
    hint = "" if "did you mean" in message else "; give null where there is no value"
    return InvalidInputError.at(f"/records/{row}", message + hint)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."
