"""``ArrayTable``: an array as a table that is read in blocks of rows, as files of other formats are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from dropout_service.datasets.cell_arrays import text_array

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from dropout_service.datasets.arrow import Cells

    Values = NDArray[np.float64]

__all__ = ["ArrayTable"]

_BLOCK_CELLS: Final = 1 << 18


class ArrayTable:
    """The columns of an array, and behind them one more.

    Parameters
    ----------
    x
        Numbers, shape (rows, columns).
    y
        Numbers or text, shape (rows,); ``None``: there is no such column.
    """

    def __init__(self, x: NDArray[np.generic], y: NDArray[np.generic] | None = None) -> None:
        self._x, self._y = x, y

    def blocks(self, columns: Sequence[int]) -> Iterator[tuple[int, list[Values | Cells]]]:
        """Read the rows.

        Parameters
        ----------
        columns
            Places of those to read.

        Yields
        ------
        tuple
            The number of the block's first row, from 1, and of each column its numbers, or its cells if it is text.
        """
        rows = max(1, _BLOCK_CELLS // len(columns))
        for start in range(0, len(self._x), rows):
            yield start + 1, [self._values(place, slice(start, start + rows)) for place in columns]

    def numbers(self, place: int) -> Values | None:
        """Return a column of numbers as a whole; ``None`` if it is text."""
        values = self._values(place, slice(None))
        return values if isinstance(values, np.ndarray) else None

    def _values(self, place: int, rows: slice) -> Values | Cells:
        if self._y is None or place < self._x.shape[1]:
            return self._x[rows, place].astype(np.float64)
        part = self._y[rows]
        return text_array(part.tolist()) if part.dtype.kind == "U" else part.astype(np.float64)
