"""From counts and moments to the description of a column."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dropout_service.datasets.arrays import MAX_LABEL_CHARS
from dropout_service.datasets.cells import PLAIN
from dropout_service.datasets.dataset import BadCell, ClassCount, Column, ColumnType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dropout_service.datasets.cells import CellStyle
    from dropout_service.datasets.statistics import Detail, Numbers

__all__ = ["BAD_CELLS_OF_COLUMN", "bad_cell", "describe", "describe_numbers"]

BAD_CELLS_OF_COLUMN: Final = 5
"""So many bad cells of a column are listed; the others are counted."""

_MAX_LEVELS: Final = 20
"""Of fractional numbers, so few values are classes or the settings of a factor; more are a measurement."""
_SHOWN_CHARS: Final = 40


def describe(
    name: str,
    type: ColumnType,  # noqa: A002 - the field's word
    counts: Mapping[Any, int] | None,
    detail: Detail,
    *,
    missing: int,
    bad: int = 0,
    numbers: Numbers | None = None,
) -> Column:
    """Describe a column.

    Parameters
    ----------
    name, type, missing, bad, numbers
        As in ``Column``.
    counts
        How often each value occurs; ``None`` when there are too many to count.
    detail
        How many are counted and listed.
    """
    classes = None
    most = min(_MAX_LEVELS, detail.classes) if type == "number" else detail.classes
    if counts is not None and len(counts) <= most and all(len(str(c)) <= MAX_LABEL_CHARS for c in counts):
        classes = tuple(ClassCount(label, counts[label]) for label in sorted(counts))
    return Column(
        name=name,
        type=type,
        missing=missing,
        bad=bad,
        distinct=detail.distinct if counts is None else len(counts),
        distinct_exact=counts is not None,
        min=None if numbers is None else numbers.min,
        max=None if numbers is None else numbers.max,
        mean=None if numbers is None else numbers.mean,
        std=None if numbers is None else numbers.std,
        classes=classes,
        constant=counts is not None and len(counts) == 1,
    )


def describe_numbers(
    name: str, counts: Mapping[float, int] | None, detail: Detail, *, missing: int, texts: int, numbers: Numbers
) -> Column:
    """Describe a column of numbers, of which ``texts`` cells are text."""
    if numbers.whole and counts is not None:
        counts = {int(value): count for value, count in counts.items()}
    column_type = "integer" if numbers.whole else "number"
    return describe(name, column_type, counts, detail, missing=missing, bad=texts + numbers.infinite, numbers=numbers)


def bad_cell(row: int, column: str, cell: str, style: CellStyle = PLAIN) -> BadCell:
    """Say what is wrong with a cell of a column of numbers."""
    if style.number(cell) is not None:
        message = "is not finite"
    elif style.is_plain and PLAIN.number(cell.replace(",", ".", 1)) is not None:
        message = "is not a number; write decimals with a point"
    else:
        message = "is not a number"
    shown = cell if len(cell) <= _SHOWN_CHARS else f"{cell[:_SHOWN_CHARS]}..."
    return BadCell(row, column, shown, message)
