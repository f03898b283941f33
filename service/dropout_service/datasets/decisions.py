"""What a training does with each column of a table, decided from its schema alone, so that it is known beforehand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection

    from dropout_service.datasets.dataset import Column, DatasetFormat, TableSchema
    from dropout_service.training.spec import ColumnKind, ColumnSpec

__all__ = ["Decision", "decide", "unusable"]

_IDENTIFIER_ROWS: Final = 20
"""In so few rows all values may differ by chance."""
_FEW_TEXTS: Final = 64
_REPEATED: Final = 2
"""Texts that occur so often on average are categories, however many there are."""
_INSTEAD: Final = "use the column as a category"


@dataclass(frozen=True, slots=True)
class Decision:
    """What is done with a column.

    Parameters
    ----------
    use
        Whether it is a feature.
    kind
        As what: a kind of ``training.columns.ENCODERS``.
    reason
        Why, for people.
    warning
        What a person should look at before a training uses it: it gives the target away.
    """

    use: bool
    kind: ColumnKind
    reason: str
    warning: str | None = None


def decide(
    column: Column,
    schema: TableSchema,
    format: DatasetFormat,  # noqa: A002 - the field's word
    chosen: ColumnSpec | None = None,
    *,
    targets: Collection[str] | None = None,
) -> Decision:
    """Decide what is done with a column.

    Parameters
    ----------
    column, schema
        The column and the table it is of.
    format
        An array of numbers is used as it is, so that predictions can take arrays of as many columns.
    chosen
        What a person chose, which goes before.
    targets
        Names of what is to be predicted; by default the target of the schema.
    """
    is_array = format in {"npy", "npz"}
    suggested = _of_array(column, schema.rows) if is_array else _of_table(column, schema.rows)
    warning = _warning(column, schema, (schema.target,) if targets is None else targets)
    if warning is not None:
        suggested = replace(suggested, warning=warning)
    elif suggested.use and column.same_as is not None and not is_array:
        suggested = replace(suggested, use=False, reason=f"the same as `{column.same_as}`")
    if chosen is None:
        return suggested
    if not chosen.use:
        return Decision(use=False, kind=chosen.kind or suggested.kind, reason="left out by `columns`")
    if chosen.kind is None:
        return Decision(
            use=True, kind=suggested.kind, reason=f"{suggested.reason}; used because `columns` says so", warning=warning
        )
    return Decision(use=True, kind=chosen.kind, reason=f"{chosen.kind} by `columns`", warning=warning)


def _warning(column: Column, schema: TableSchema, targets: Collection[str]) -> str | None:
    for name in targets:
        target = schema.column(name)
        if target is None or name == column.name:
            continue
        if (column.same_as or column.name) == (target.same_as or name):
            return f"gives the target away: it is the same as `{name}`"
        if (column.one_to_one or column.name) == (target.one_to_one or name):
            return f"gives the target away: its values go one to one with those of `{name}`"
    return None


def _of_array(column: Column, rows: int) -> Decision:
    if column.type == "text":
        return _of_text(column, rows)
    return Decision(use=column.type != "empty", kind="number", reason=_number(column))


def _of_table(column: Column, rows: int) -> Decision:
    if column.type == "empty":
        return Decision(use=False, kind="number", reason="empty: no cell has a value")
    if column.type == "other":
        return Decision(use=False, kind="number", reason=f"{column.stored}: no training reads it")
    if column.date:
        gaps = f"; {_counted(column.missing)}" if column.missing else ""
        suggested = Decision(use=True, kind="date", reason=f"date: each value is one{gaps}")
    elif column.type == "text":
        suggested = _of_text(column, rows)
    elif column.type == "boolean":
        suggested = Decision(use=True, kind="boolean", reason=f"boolean{_gaps(column)}")
    else:
        suggested = Decision(use=True, kind="number", reason=_number(column))
    if column.constant and not column.missing:
        return replace(suggested, use=False, reason="constant: all values are equal")
    if _is_identifier(column, rows):
        return replace(suggested, use=False, reason=f"identifier: each of the {rows:,} rows has a value of its own")
    return suggested


def _of_text(column: Column, rows: int) -> Decision:
    distinct = f"{column.distinct:,}" if column.distinct_exact else f"more than {column.distinct:,}"
    often = column.distinct_exact and column.distinct * _REPEATED <= rows - column.missing
    gaps = f"; {_counted(column.missing)}" if column.missing else ""
    if column.distinct <= _FEW_TEXTS or often:
        apart = f"{gaps} as a category of {'its' if column.missing == 1 else 'their'} own" if gaps else ""
        return Decision(use=True, kind="category", reason=f"category: {distinct} distinct texts{apart}")
    return Decision(use=True, kind="text", reason=f"text: {distinct} distinct texts, few of them twice{gaps}")


def _number(column: Column) -> str:
    return f"number{_gaps(column)}"


def _gaps(column: Column) -> str:
    if not column.missing:
        return ""
    return f"; {_counted(column.missing)} {'is' if column.missing == 1 else 'are'} filled, and a column tells which"


def _counted(gaps: int) -> str:
    return "1 gap" if gaps == 1 else f"{gaps:,} gaps"


def _is_identifier(column: Column, rows: int) -> bool:
    """Whether every row has a value of its own: any text, or whole numbers without a hole."""
    if rows < _IDENTIFIER_ROWS or not column.distinct_exact or column.distinct < rows:
        return False
    if column.type == "text":
        return not column.date
    return (
        column.type == "integer"
        and column.min is not None
        and column.max is not None
        and column.max - column.min == rows - 1
    )


def unusable(column: Column, kind: ColumnKind) -> str | None:
    """Return why a column cannot be used as a kind, with what would be right; ``None`` if it can."""
    name = column.name
    if column.type in {"empty", "other"}:
        what = "has no values" if column.type == "empty" else f"is {column.stored}, which no training reads"
        return f"column `{name}` {what}; leave it out"
    if kind in {"category", "code", "text"}:
        return None
    if (kind == "date") != (column.type == "text"):
        return f"column `{name}` is {'text' if column.type == 'text' else 'one of numbers'}, no {kind}; {_INSTEAD}"
    if column.bad:
        cells = f"{column.bad:,} {'cell that is' if column.bad == 1 else 'cells that are'} no finite number"
        return f"column `{name}` has {cells}; correct them, or {_INSTEAD}"
    if kind == "boolean" and not _is_flag(column):
        return f"column `{name}` has other values than true and false, or 1 and 0; use it as a number or a category"
    return None


def _is_flag(column: Column) -> bool:
    return column.type == "boolean" or (column.type == "integer" and {column.min, column.max} <= {0, 1})
