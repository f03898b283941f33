"""Columns of cells, as PyArrow has them: numbers, dates and labels of many cells at once.

What a single cell means is said in ``cells``; here is the same for arrays of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from dropout_service.datasets.arrow import pa, pc
from dropout_service.datasets.statistics import FEW, distinct_of_few
from dropout_service.training.columns.cells import as_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from dropout_service.datasets.arrow import Cells
    from dropout_service.datasets.cells import CellStyle

__all__ = ["Labels", "bytes_of", "cell_at", "first_fault", "labels", "numbers", "present", "seconds", "text_array"]

_EXACT_US: Final = 1 << 53
"""Microseconds below this bound are float64 numbers."""
_US: Final = 1e6
_PROBED: Final = 100


class Labels(NamedTuple):
    """Cells as the distinct ones among them, in the order in which they come.

    Parameters
    ----------
    distinct
        The distinct cells.
    codes
        For each cell its index among them, int32; ``len(distinct)`` where there is none.
    """

    distinct: list[str]
    codes: NDArray[np.int32]


def text_array(cells: Sequence[str]) -> Cells:
    """Make an array of cells."""
    return pa.array(cells, pa.large_string())


def cell_at(cells: Cells, row: int) -> str:
    """Return one cell; an empty one where there is no value."""
    return cells[row].as_py() or ""


def labels(cells: Cells) -> Labels:
    """Find the distinct cells."""
    if len(cells) <= FEW:  # a call of PyArrow takes as long as a hundred cells
        return Labels(*distinct_of_few(cells.to_pylist()))
    encoded = cells.dictionary_encode()
    codes = encoded.indices.fill_null(len(encoded.dictionary))
    return Labels(encoded.dictionary.to_pylist(), codes.to_numpy(zero_copy_only=False))


def bytes_of(cells: Cells) -> tuple[NDArray[np.integer], memoryview]:
    """Return where each cell begins among the bytes of all, and these bytes; equal for equal cells."""
    _, offsets, content = cells.buffers()
    wide = pa.types.is_large_string(cells.type)
    ends = np.frombuffer(offsets, np.int64 if wide else np.int32)[cells.offset : cells.offset + len(cells) + 1]
    begin, end = int(ends[0]), int(ends[-1])
    return ends - ends[0], memoryview(content if content is not None else b"")[begin:end]


def present(cells: Cells, style: CellStyle) -> Cells:
    """Take the spaces around cells away, and let those be null that have no value."""
    trimmed = pc.utf8_trim_whitespace(cells)
    marks = pa.array(sorted(style.missing), trimmed.type)
    return pc.if_else(pc.is_in(trimmed, marks), pa.scalar(None, trimmed.type), trimmed)


def numbers(cells: Cells, style: CellStyle) -> tuple[NDArray[np.float64], NDArray[np.bool_] | None]:
    """Convert the cells of one column.

    Parameters
    ----------
    cells
        Strings, null where there is no value; those in ``style.missing`` have none either.
    style
        How numbers are written.

    Returns
    -------
    values
        The numbers, NaN where a cell is missing or is text.
    text
        Where a cell is text; ``None`` where none is.
    """
    found = _cast(cells, pa.float64()) if style.is_plain else None
    if found is not None:
        values = _float64(found)
        if int(np.count_nonzero(np.isnan(values))) == found.null_count:  # PyArrow also takes nan(1) for a number
            return values, None
    there = present(cells, style)
    if not style.numeric:
        text = pc.is_valid(there).to_numpy(zero_copy_only=False)
        return np.full(len(cells), np.nan), text if text.any() else None
    numeric = pc.match_substring_regex(there, style.pattern)
    written = pc.if_else(numeric, there, pa.scalar(None, there.type))
    if style.thousands:
        written = pc.replace_substring(written, style.thousands, "")
    if style.decimal != ".":
        written = pc.replace_substring(written, style.decimal, ".")
    text = pc.fill_null(pc.invert(numeric), fill_value=False).to_numpy(zero_copy_only=False)
    return _float64(pc.cast(written, pa.float64())), text if text.any() else None


def seconds(cells: Cells, style: CellStyle) -> NDArray[np.float64]:
    """Convert dates and times of ISO 8601 to seconds since 1970, as ``as_seconds`` does; NaN where there is no value.

    Raises
    ------
    ValueError
        One of the cells is none.
    """
    there = present(cells, style)
    # Python's reader knows more forms, but takes a microsecond for each.
    for zone in (None, "UTC"):
        found = _cast(there, pa.timestamp("us", zone))
        if found is None:
            continue
        moments = found.cast(pa.int64())
        bounds: Any = pc.min_max(moments).as_py()
        if bounds["min"] is None or max(-bounds["min"], bounds["max"]) < _EXACT_US:
            return _float64(moments.cast(pa.float64())) / _US
        break
    distinct, codes = labels(there)
    return np.array([*map(as_seconds, distinct), np.nan])[codes]


def first_fault(cells: Cells, style: CellStyle, read: Callable[[str], object]) -> tuple[int, str, str]:
    """Find the first cell that cannot be read: its index, the cell, and what is wrong with it."""
    distinct, codes = labels(cells)
    wrong: dict[int, str] = {}
    for code, cell in enumerate(distinct):
        try:
            _ = None if style.is_missing(cell) else read(cell.strip())
        except ValueError as error:
            wrong[code] = str(error)
    row = int(np.flatnonzero(np.isin(codes, list(wrong)))[0])
    return row, distinct[codes[row]], wrong[int(codes[row])]


def _cast(cells: Cells, kind: Any) -> Cells | None:
    """Convert all cells, or none: each that cannot be converted takes 20 times as long, so a few are tried before."""
    try:
        pc.cast(cells.slice(0, _PROBED), kind)
        return pc.cast(cells, kind)
    except pa.ArrowInvalid:
        return None


def _float64(column: Cells) -> NDArray[np.float64]:
    if column.null_count:
        column = column.fill_null(np.nan)
    return column.to_numpy(zero_copy_only=False)
