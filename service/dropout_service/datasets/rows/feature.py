"""Columns that a model takes, and how the cells and numbers of one are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

import numpy as np

from dropout_service.datasets.cell_arrays import first_fault, labels, numbers, seconds
from dropout_service.datasets.cells import TRUTH
from dropout_service.errors import InvalidInputError
from dropout_service.training.columns.cells import as_flag, as_label, as_number, as_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from dropout_service.datasets.arrow import Cells
    from dropout_service.datasets.cells import CellStyle

    Values = NDArray[np.float64]

__all__ = ["Feature", "FeatureReader"]

_OF_NUMBER: Final[Mapping[str, Callable[[float], float]]] = {
    "number": as_number,
    "boolean": as_flag,
    "date": as_seconds,
}
"""How a number is read in a column that is not of texts."""
_SHOWN_CHARS: Final = 40


@dataclass(frozen=True, slots=True)
class Feature:
    """A column that a model takes.

    Parameters
    ----------
    name, kind
        Its name, and the kind of its encoder.
    labels
        The categories that training rows had; empty where it has none.
    """

    name: str
    kind: str
    labels: tuple[str, ...] = ()


class FeatureReader:
    """Reads a feature block by block, as ``training.columns.RawColumn`` has it.

    Parameters
    ----------
    feature
        Which one.
    style
        How cells are written.
    """

    def __init__(self, feature: Feature, style: CellStyle) -> None:
        self._name = feature.name
        self._kind = feature.kind
        self._style = style
        self._known = frozenset(feature.labels)
        self._labels: dict[str, float] = {}
        self.chars = 0
        """Characters of the texts so far."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The texts so far, which values are indices of; none where the feature is none of texts."""
        return tuple(self._labels)

    def read(self, values: Values | Cells, first_row: int) -> Values:
        """Read a block of numbers or cells, the first of which is in a row of this number, from 1.

        Raises
        ------
        InvalidInputError
            One is not what the feature has; with its row.
        """
        if isinstance(values, np.ndarray):
            return self._of_numbers(cast("Values", values), first_row)
        try:
            return self._of_cells(values)
        except ValueError:
            row, cell, wrong = first_fault(values, self._style, self._of_cell)
            raise self._fault(first_row + row, repr(cell.strip()[:_SHOWN_CHARS]), wrong) from None

    def _of_numbers(self, values: Values, first_row: int) -> Values:
        if self._kind == "number" and not np.isinf(values).any():
            return values
        read = _OF_NUMBER.get(self._kind, lambda value: self._place(as_label(value)))
        distinct, places = np.unique(values, return_inverse=True)
        found = np.full(len(distinct), np.nan)
        wrong: dict[int, str] = {}
        for place, value in enumerate(distinct.tolist()):
            try:
                found[place] = value if np.isnan(value) else read(value)
            except ValueError as error:
                wrong[place] = str(error)
        if wrong:
            row = int(np.flatnonzero(np.isin(places, list(wrong)))[0])
            raise self._fault(first_row + row, as_label(float(values[row])), wrong[int(places[row])])
        return found[places]

    def _of_cells(self, cells: Cells) -> Values:
        if self._kind == "number":
            values, text = numbers(cells, self._style)
            if text is not None or np.isinf(values).any():
                raise ValueError
            return values
        if self._kind == "date":
            return seconds(cells, self._style)
        distinct, codes = labels(cells)
        read = [np.nan if self._style.is_missing(cell) else self._of_cell(cell.strip()) for cell in distinct]
        return np.array([*read, np.nan])[codes]

    def _of_cell(self, cell: str) -> float:
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
        return self._place(self._label(cell, number))

    def _label(self, cell: str, number: float | None) -> str:
        """Return the text of a category: of numbers and truth values as training has it."""
        if cell in self._known:
            return cell
        if number is not None and np.isfinite(number):
            return as_label(number)
        return cell.lower() if cell.lower() in TRUTH else cell

    def _place(self, label: str) -> float:
        if label not in self._labels:
            self._labels[label] = float(len(self._labels))
            self.chars += len(label)
        return self._labels[label]

    def _fault(self, row: int, shown: str, wrong: str) -> InvalidInputError:
        return InvalidInputError(f"row {row}, column `{self._name}`: {shown} {wrong} (the column is a {self._kind})")
