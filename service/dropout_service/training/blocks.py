"""RowBlocks in blocks, so that a large table is never copied as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

__all__ = ["RowBlocks", "slices"]

_BLOCK_ROWS: Final = 8192


def slices(rows: int, most: int = _BLOCK_ROWS) -> Iterator[slice]:
    """Yield the places of at most so many rows at a time, in order."""
    for begin in range(0, rows, most):
        yield slice(begin, min(begin + most, rows))


@dataclass(frozen=True, slots=True, eq=False)
class RowBlocks:
    """Some rows of a table, block by block as often as they are iterated over: each (rows, columns), C-contiguous.

    Parameters
    ----------
    table
        All rows, (rows, columns), float64.
    numbers
        Which of them.
    columns
        The columns to look at; ``None``: all.
    fill
        What stands for NaN in each column; ``None``: NaN does.
    """

    table: NDArray[np.float64]
    numbers: NDArray[np.intp]
    columns: Sequence[int] | None = None
    fill: NDArray[np.float64] | None = None

    @property
    def width(self) -> int:
        """Columns of a block."""
        return self.table.shape[1] if self.columns is None else len(self.columns)

    def __len__(self) -> int:
        return self.numbers.size

    def __iter__(self) -> Iterator[NDArray[np.float64]]:
        for part in slices(self.numbers.size):
            block: NDArray[Any] = self.table[self.numbers[part]]
            if self.columns is not None:
                block = np.ascontiguousarray(block[:, self.columns])
            yield block if self.fill is None else np.where(np.isnan(block), self.fill, block)
