"""Cells of a feature as raw values, see ``training.columns.RawColumn``."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from dropout_service.datasets.cell_arrays import first_fault, labels, numbers, seconds
from dropout_service.datasets.cells import PLAIN, TRUTH
from dropout_service.errors import InvalidInputError
from dropout_service.training.blocks import slices
from dropout_service.training.columns.cells import as_label, as_seconds

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dropout_service.datasets.arrow import Cells
    from dropout_service.datasets.cells import CellStyle
    from dropout_service.datasets.dataset import Column
    from dropout_service.training.data import Label
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
    style
        How its cells are written.
    """

    def __init__(self, index: int, column: Column, kind: ColumnKind, style: CellStyle = PLAIN) -> None:
        self._style = style
        self.index = index
        self.column = column
        self._kind = kind
        self._places: dict[str, float] = {}
        self._read: dict[str, float] = {}
        """What each distinct cell was read as: most texts of a table are there many times."""

    @property
    def has_labels(self) -> bool:
        """Whether its values are indices of texts."""
        return self._kind in {"category", "code", "text"}

    @property
    def labels(self) -> tuple[str, ...]:
        """The texts so far, in the order of their indices."""
        return tuple(self._places)

    def of_cells(self, cells: Cells, first_row: int) -> NDArray[np.float64]:
        """Read cells of text, the first of which is in a row of this number, from 1.

        Raises
        ------
        InvalidInputError
            A cell of a date is none.
        """
        if self.has_labels:
            return self._of_texts(cells)
        return self._of_dates(cells, first_row) if self._kind == "date" else numbers_of(cells, self.column, self._style)

    def of_values(self, values: NDArray[np.float64] | Cells, first_row: int) -> NDArray[np.float64]:
        """Read numbers or cells, whichever these are."""
        if isinstance(values, np.ndarray):
            return self.of_numbers(cast("NDArray[np.float64]", values))
        return self.of_cells(values, first_row)

    def of_numbers(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Read numbers: as they are, or as labels where they are categories."""
        if not self.has_labels:
            return values
        distinct, inverse = np.unique(values, return_inverse=True)
        codes = [np.nan if np.isnan(value) else self._place(as_label(value)) for value in distinct.tolist()]
        return np.array(codes)[inverse]

    def classes(self, values: NDArray[np.float64], *, out: NDArray[np.int64]) -> tuple[Label, ...]:
        """Return the classes in sorted order, each with the type that it has in the table.

        Parameters
        ----------
        values
            Values of the target, none of them missing, shape (rows,).
        out
            Where the index of each value's class is written, shape (rows,).
        """
        if self.has_labels:
            order = sorted(range(len(self.labels)), key=self.labels.__getitem__)
            places = np.empty(len(order), np.int64)
            places[order] = np.arange(len(order))
            for part in slices(len(values)):
                out[part] = places[values[part].astype(np.intp)]
            return tuple(self.labels[place] for place in order)
        distinct = np.unique(np.concatenate([np.unique(values[part]) for part in slices(len(values))]))
        for part in slices(len(values)):
            out[part] = np.searchsorted(distinct, values[part])
        kind = {"boolean": bool, "integer": int}.get(self.column.type, float)
        return tuple(kind(value) for value in distinct.tolist())

    def _of_texts(self, cells: Cells) -> NDArray[np.float64]:
        distinct, codes = labels(cells)
        known = self._read
        for cell in distinct:
            if cell not in known:
                known[cell] = np.nan if self._style.is_missing(cell) else self._place(self._label(cell))
        return np.array([*map(known.__getitem__, distinct), np.nan])[codes]

    def _label(self, cell: str) -> str:
        if self.column.type in {"integer", "number"}:
            value = self._style.number(cell)
            return cell.strip() if value is None or not np.isfinite(value) else as_label(value)
        return cell.strip().lower() if self.column.type == "boolean" else cell.strip()

    def _of_dates(self, cells: Cells, first_row: int) -> NDArray[np.float64]:
        try:
            return seconds(cells, self._style)
        except ValueError:
            row, cell, wrong = first_fault(cells, self._style, as_seconds)
            message = f"row {first_row + row}, column `{self.column.name}`: {cell.strip()[:40]!r} {wrong}"
            raise InvalidInputError.at("/data/columns", message) from None

    def _place(self, label: str) -> float:
        return self._places.setdefault(label, float(len(self._places)))


def numbers_of(cells: Cells, column: Column, style: CellStyle = PLAIN) -> NDArray[np.float64]:
    """Read cells of numbers or truth values; NaN where there is none."""
    if column.type == "boolean":
        distinct, codes = labels(cells)
        return np.array([*(TRUTH.get(cell.strip().lower(), np.nan) for cell in distinct), np.nan], np.float64)[codes]
    return numbers(cells, style)[0]
