"""Rows to predict as CSV, read as a dataset is."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from dropout_service.datasets.cells import MISSING, TRUTH, is_missing, is_number, numbers
from dropout_service.datasets.csv_table import CsvTable
from dropout_service.errors import InvalidInputError
from dropout_service.models.rows import Rows, missing_column
from dropout_service.training.columns.cells import as_label, as_seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dropout_service.budgets import Budgets
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
        readers = [_Reader(name, one) for name, one in zip(model.feature_names, model.encoders.columns, strict=True)]
        parts = [
            np.column_stack([reader.read(block[at], first) for reader, at in zip(readers, places, strict=True)])
            for first, block in table.blocks()
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

    def __init__(self, name: str, encoder: ColumnEncoder) -> None:
        self._name = name
        self._kind = encoder.kind
        self._known: frozenset[str] = frozenset(getattr(encoder, "labels", ()))
        self._labels: dict[str, float] = {}

    @property
    def labels(self) -> tuple[str, ...]:
        """The texts so far."""
        return tuple(self._labels)

    def read(self, cells: Sequence[str], first_row: int) -> NDArray[np.float64]:
        """Read a block of cells, the first of which is in a row of this number, from 1."""
        if self._kind == "number":
            return self._numbers(cells, first_row)
        values = np.empty(len(cells))
        for at, cell in enumerate(cells):
            try:
                values[at] = np.nan if is_missing(cell, MISSING) else self._value(cell.strip())
            except ValueError as error:
                raise self._fault(first_row + at, cell, str(error)) from error
        return values

    def _numbers(self, cells: Sequence[str], first_row: int) -> NDArray[np.float64]:
        values, text = numbers(cells)
        bad = np.flatnonzero(text | np.isinf(values))
        if bad.size:
            at = int(bad[0])
            raise self._fault(first_row + at, cells[at], "is not a number" if text[at] else "is not finite")
        return values

    def _value(self, cell: str) -> float:
        if self._kind == "date":
            return as_seconds(cell)
        if self._kind == "boolean":
            if cell.lower() in TRUTH:
                return float(TRUTH[cell.lower()])
            if is_number(cell) and float(cell) in (0, 1):
                return float(cell)
            raise ValueError("is neither true nor false")
        return self._labels.setdefault(self._label(cell), float(len(self._labels)))

    def _label(self, cell: str) -> str:
        """Return the text of a category: of numbers and truth values as training has it."""
        if cell in self._known:
            return cell
        return as_label(float(cell)) if is_number(cell) and np.isfinite(float(cell)) else self._folded(cell)

    def _folded(self, cell: str) -> str:
        return cell.lower() if cell.lower() in TRUTH else cell

    def _fault(self, row: int, cell: str, wrong: str) -> InvalidInputError:
        shown = cell.strip()[:40]
        return InvalidInputError(f"row {row}, column `{self._name}`: {shown!r} {wrong} (the column is a {self._kind})")
