"""What a cell of text means: a number, a truth value, no value, or text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from collections.abc import Set as AbstractSet

    from numpy.typing import NDArray

__all__ = ["MISSING", "TRUTH", "is_missing", "is_number", "missing_marks", "numbers"]

MISSING: Final = frozenset({"", "NA", "N/A", "NaN", "nan", "NAN", "null", "NULL", "Null"})
"""How a cell says that it has no value."""

TRUTH: Final = {"true": True, "false": False}
"""Truth values in lower case; a cell may write them in any."""

_NUMBER: Final = re.compile(r"\s*[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|inf|infinity)\s*", re.ASCII | re.IGNORECASE)


def missing_marks(own: Collection[str]) -> AbstractSet[str]:
    """Return what stands for no value in a file that has marks of its own beside those of all files."""
    return MISSING.union(own) if own else MISSING


def is_number(cell: str) -> bool:
    """Whether a cell is a decimal number, or an infinity."""
    return _NUMBER.fullmatch(cell) is not None


def is_missing(cell: str, marks: AbstractSet[str] = MISSING) -> bool:
    """Whether a cell has no value: it is one of the marks that say so."""
    return cell in marks or cell.strip() in marks


def numbers(cells: Sequence[str], marks: AbstractSet[str] = MISSING) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Convert the cells of one column.

    Parameters
    ----------
    cells
        The cells.
    marks
        What stands for no value.

    Returns
    -------
    values
        The numbers, NaN where a cell is missing or is text.
    text
        Where a cell is text.
    """
    values = _floats(cells) if marks is MISSING else None
    if values is None:
        values = _floats(["nan" if cell in marks else cell for cell in cells])
    if values is not None:
        return values, np.zeros(len(cells), np.bool_)
    distinct = set(cells)
    gaps = {cell for cell in distinct if is_missing(cell, marks)}
    meaning = {cell: float(cell) if is_number(cell) and cell not in gaps else np.nan for cell in distinct}
    text = {cell for cell, value in meaning.items() if value != value and cell not in gaps}  # noqa: PLR0124 - NaN
    return (
        np.fromiter(map(meaning.__getitem__, cells), np.float64, len(cells)),
        np.fromiter(map(text.__contains__, cells), np.bool_, len(cells)),
    )


def _floats(cells: Sequence[str]) -> NDArray[np.float64] | None:
    # float() also takes 1_000 and the digits of every script; in a table these are text.
    joined = "".join(cells)
    if "_" in joined or not joined.isascii():
        return None
    try:
        return np.fromiter(map(float, cells), np.float64, len(cells))
    except ValueError:
        return None
