"""Look through an array once and describe its columns."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import numpy as np

from dropout_service.datasets.cells import stripped
from dropout_service.datasets.columns import BAD_CELLS_OF_COLUMN, bad_cell, describe, describe_numbers
from dropout_service.datasets.statistics import Detail, Moments, count_bounded, count_numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dropout_service.datasets.dataset import BadCell, Column

__all__ = ["array_columns", "text_column"]

_BLOCK_CELLS: Final = 1 << 20
_BLOCK_TEXTS: Final = 1 << 14


def text_column(name: str, values: NDArray[np.generic]) -> Column:
    """Describe an array of text."""
    detail = Detail.of(1)
    counts: Counter[str] | None = Counter()
    missing = 0
    for start in range(0, len(values), _BLOCK_TEXTS):
        found = Counter[str](values[start : start + _BLOCK_TEXTS].tolist())
        labels = stripped(found)
        missing += found.total() - labels.total()
        counts = count_bounded(counts, labels, detail)
    return describe(name, "empty" if missing == len(values) else "text", counts, detail, missing=missing)


def array_columns(array: NDArray[np.generic], names: Sequence[str]) -> list[tuple[Column, list[BadCell]]]:
    """Describe each column of an array (rows, columns) and list its first bad cells."""
    width = array.shape[1]
    detail = Detail.of(width)
    moments = Moments(width)
    missing = np.zeros(width, np.int64)
    counts: list[Counter[float] | None] = [Counter() for _ in range(width)]
    odd: list[list[tuple[int, str]]] = [[] for _ in range(width)]
    block_rows = max(1, _BLOCK_CELLS // width)
    for start in range(0, len(array), block_rows):
        block = np.asarray(array[start : start + block_rows]).astype(np.float64, order="F")
        moments.update(block)
        missing += np.isnan(block).sum(axis=0)
        infinite = np.isinf(block)
        for index in range(width):
            counts[index] = count_numbers(counts[index], block[:, index], detail)
            for at in np.flatnonzero(infinite[:, index])[: BAD_CELLS_OF_COLUMN - len(odd[index])].tolist():
                odd[index].append((start + at + 1, str(block[at, index])))
    columns: list[tuple[Column, list[BadCell]]] = []
    for index, name in enumerate(names):
        found = counts[index]
        if array.dtype.kind == "b":
            truth = {bool(value): count for value, count in (found or {}).items()}
            column = describe(name, "boolean", truth, detail, missing=0)
        elif missing[index] == len(array):
            column = describe(name, "empty", {}, detail, missing=len(array))
        else:
            column = describe_numbers(
                name, found, detail, missing=int(missing[index]), texts=0, numbers=moments.of(index)
            )
        columns.append((column, [bad_cell(row, name, cell) for row, cell in odd[index]]))
    return columns
