"""Rows to predict as CSV, read as a dataset is."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from dropout_service.datasets.cell_arrays import first_fault, labels, numbers, seconds
from dropout_service.datasets.cells import TRUTH
from dropout_service.datasets.csv_text.table import CsvTable
from dropout_service.errors import InvalidInputError
from dropout_service.models.rows import Rows, missing_column
from dropout_service.training.columns.cells import as_label, as_seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dropout_service.budgets import Budgets
    from dropout_service.datasets.arrow import Cells
    from dropout_service.datasets.cells import CellStyle
    from dropout_service.training.columns import ColumnEncoder
    from dropout_service.training.trained import TrainedModel

__all__ = ["rows_of_csv"]

_NUMERIC: Final = ("number", "boolean")


def rows_of_csv(model: TrainedModel, content: bytes | memoryview, budgets: Budgets) -> Rows:
    """Take the features by their names from a CSV file with a header; other columns are left aside.

    Parameters
    ----------
    model
        What is to predict.
    content
        The file.
    budgets
        Bound of its columns.

    Raises
    ------
    InvalidInputError
        It cannot be read as a dataset could, a feature is missing, or a cell is not what its column has.
    OverBudgetError
        It has too many columns.
    """
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        table = CsvTable(Path(file.name), budgets)
        places = [_place(table.names, name) for name in model.feature_names]
        readers = [
            _Reader(name, one, table.style)
            for name, one in zip(model.feature_names, model.encoders.columns, strict=True)
        ]
        parts = [
            np.column_stack([reader.read(cells, first) for reader, cells in zip(readers, block, strict=True)])
            for first, block in table.blocks(places)
        ]
    if not parts:
        raise InvalidInputError("the csv has a header but no rows")
    return Rows(np.vstack(parts), tuple(reader.labels for reader in readers))


def _place(names: Sequence[str], name: str) -> int:
    if name not in names:
        raise InvalidInputError(missing_column(name, names))
    return names.index(name)


class _Reader:
    """Reads the cells of one feature."""

    def __init__(self, name: str, encoder: ColumnEncoder, style: CellStyle) -> None:
        self._name = name
        self._kind = encoder.kind
        self._style = style
        self._known: frozenset[str] = frozenset(getattr(encoder, "labels", ()))
        self._labels: dict[str, float] = {}

    @property
    def labels(self) -> tuple[str, ...]:
        """The texts so far."""
        return tuple(self._labels)

    def read(self, cells: Cells, first_row: int) -> NDArray[np.float64]:
        """Read a block of cells, the first of which is in a row of this number, from 1."""
        try:
            if self._kind == "number":
                return self._numbers(cells)
            if self._kind == "date":
                return seconds(cells, self._style)
            distinct, codes = labels(cells)
            values = [np.nan if self._style.is_missing(cell) else self._value(cell.strip()) for cell in distinct]
        except ValueError:
            row, cell, wrong = first_fault(cells, self._style, self._value)
            message = f"row {first_row + row}, column `{self._name}`: {cell.strip()[:40]!r} {wrong}"
            raise InvalidInputError(f"{message} (the column is a {self._kind})") from None
        return np.array([*values, np.nan])[codes]

    def _numbers(self, cells: Cells) -> NDArray[np.float64]:
        values, text = numbers(cells, self._style)
        if text is not None or np.isinf(values).any():
            raise ValueError
        return values

    def _value(self, cell: str) -> float:
        if self._kind == "date":
            return as_seconds(cell)
        number = self._style.number(cell)
        if self._kind == "boolean":
            if cell.lower() in TRUTH:
                return float(TRUTH[cell.lower()])
            if number in {0, 1}:
                return float(cell)
            raise ValueError("is neither true nor false")
        if self._kind == "number":
            if number is None or not np.isfinite(number):
                raise ValueError("is not a number" if number is None else "is not finite")
            return number
        return self._labels.setdefault(self._label(cell, number), float(len(self._labels)))

    def _label(self, cell: str, number: float | None) -> str:
        """Return the text of a category: of numbers and truth values as training has it."""
        if cell in self._known:
            return cell
        if number is not None and np.isfinite(number):
            return as_label(number)
        return cell.lower() if cell.lower() in TRUTH else cell
