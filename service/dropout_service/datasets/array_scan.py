"""Look through an array once and describe its columns."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import numpy as np

from dropout_service.datasets.cells import PLAIN, stripped
from dropout_service.datasets.columns import describe
from dropout_service.datasets.likeness import LikenessScan
from dropout_service.datasets.number_column import NumberColumn
from dropout_service.datasets.statistics import Detail, count_bounded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dropout_service.datasets.dataset import BadCell, Column
    from dropout_service.datasets.likeness import Likeness

__all__ = ["array_columns", "text_column"]

_BLOCK_CELLS: Final = 1 << 20
_BLOCK_TEXTS: Final = 1 << 14


def text_column(name: str, values: NDArray[np.generic]) -> tuple[Column, list[BadCell], Likeness]:
    """Describe an array of text; no cell of it is bad."""
    detail = Detail.of(1)
    counts: Counter[str] | None = Counter()
    likeness = LikenessScan()
    missing = 0
    for start in range(0, len(values), _BLOCK_TEXTS):
        cells: list[str] = values[start : start + _BLOCK_TEXTS].tolist()
        found = Counter[str](cells)
        labels = stripped(found)
        missing += found.total() - labels.total()
        counts = count_bounded(counts, labels, detail)
        if counts is None:
            likeness.give_up_pattern()
        places = dict(zip(found, range(len(found)), strict=True))
        keys = (None if PLAIN.is_missing(cell) else cell.strip() for cell in found)
        likeness.add_pattern(keys, np.fromiter(map(places.__getitem__, cells), np.int32, len(cells)))
        likeness.add(values[start : start + _BLOCK_TEXTS])
    kind = "empty" if missing == len(values) else "text"
    return describe(name, kind, counts, detail, missing=missing), [], likeness.finish()


def array_columns(array: NDArray[np.generic], names: Sequence[str]) -> list[tuple[Column, list[BadCell], Likeness]]:
    """Describe each column of an array (rows, columns), with its first bad cells."""
    width = array.shape[1]
    scans = [NumberColumn(name, Detail.of(width), boolean=array.dtype.kind == "b") for name in names]
    block_rows = max(1, _BLOCK_CELLS // width)
    for start in range(0, len(array), block_rows):
        block = np.asarray(array[start : start + block_rows]).astype(np.float64, order="F")
        for scan, values in zip(scans, block.T, strict=True):
            scan.add(start + 1, values)
    return [(*scan.describe(), scan.likeness()) for scan in scans]
