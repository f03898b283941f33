"""Cells of a feature as raw values, see ``training.columns.RawColumn``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dropout_service.datasets.cells import MISSING, TRUTH, is_missing, numbers
from dropout_service.errors import InvalidInputError
from dropout_service.training.columns.cells import as_label, as_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from collections.abc import Set as AbstractSet

    from numpy.typing import NDArray

    from dropout_service.datasets.dataset import Column
    from dropout_service.training.spec import ColumnKind

__all__ = ["RawFeature", "numbers_of"]


class RawFeature:
    """A column that a training reads, block by block.

    Parameters
    ----------
    index
        Its place in the table.
    column
        What the schema says of it.
    kind
        How it is used.
    marks
        Cells that stand for no value.
    """

    def __init__(self, index: int, column: Column, kind: ColumnKind, marks: AbstractSet[str] = MISSING) -> None:
        self._marks = marks
        self.index = index
        self.column = column
        self._kind = kind
        self._places: dict[str, float] = {}
        self._read: dict[str, float] = {}
        """What each distinct cell was read as: most texts of a table are there many times."""

    @property
    def has_labels(self) -> bool:
        """Whether its values are indices of texts."""
        return self._kind in {"category", "text"}

    @property
    def labels(self) -> tuple[str, ...]:
        """The texts so far, in the order of their indices."""
        return tuple(self._places)

    def of_cells(self, cells: Sequence[str], first_row: int) -> NDArray[np.float64]:
        """Read cells of text, the first of which is in a row of this number, from 1.

        Raises
        ------
        InvalidInputError
            A cell of a date is none.
        """
        if not self.has_labels and self._kind != "date":
            return numbers_of(cells, self.column, self._marks)
        read = self._of_date if self._kind == "date" else self._of_text
        known = self._read
        values = np.empty(len(cells))
        for place, cell in enumerate(cells):
            value = known.get(cell)
            if value is None:
                value = known[cell] = self._told(read, cell, first_row + place)
            values[place] = value
        return values

    def of_numbers(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Read numbers: as they are, or as labels where they are categories."""
        if not self.has_labels:
            return values
        distinct, inverse = np.unique(values, return_inverse=True)
        codes = [np.nan if np.isnan(value) else self._place(as_label(value)) for value in distinct.tolist()]
        return np.array(codes)[inverse]

    def _told(self, read: Callable[[str], float], cell: str, row: int) -> float:
        if is_missing(cell, self._marks):
            return np.nan
        try:
            return read(cell)
        except ValueError as error:
            message = f"row {row}, column `{self.column.name}`: {cell.strip()[:40]!r} {error}"
            raise InvalidInputError.at("/data/columns", message) from error

    def _of_date(self, cell: str) -> float:
        return as_seconds(cell)

    def _of_text(self, cell: str) -> float:
        if self.column.type in {"integer", "number"}:
            value = float(numbers([cell])[0][0])
            return self._place(as_label(value) if np.isfinite(value) else cell.strip())
        return self._place(cell.strip().lower() if self.column.type == "boolean" else cell.strip())

    def _place(self, label: str) -> float:
        return self._places.setdefault(label, float(len(self._places)))


def numbers_of(cells: Sequence[str], column: Column, marks: AbstractSet[str] = MISSING) -> NDArray[np.float64]:
    """Read cells of numbers or truth values; NaN where there is none."""
    if column.type == "boolean":
        return np.array([TRUTH.get(cell.strip().lower(), np.nan) for cell in cells], np.float64)
    return numbers(cells, marks)[0]
