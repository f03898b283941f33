"""One column of cells of text, looked through block by block and then described."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dropout_service.datasets.cell_arrays import bytes_of, cell_at, labels, numbers, seconds
from dropout_service.datasets.cells import TRUTH, stripped
from dropout_service.datasets.columns import BAD_CELLS_OF_COLUMN, bad_cell, describe, describe_numbers
from dropout_service.datasets.likeness import LikenessScan
from dropout_service.datasets.statistics import Moments
from dropout_service.training.columns.cells import as_seconds

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dropout_service.datasets.arrow import Cells
    from dropout_service.datasets.cells import CellStyle
    from dropout_service.datasets.dataset import BadCell, Column
    from dropout_service.datasets.likeness import Likeness
    from dropout_service.datasets.statistics import Detail

__all__ = ["CellColumn"]

NUMERIC_SHARE: Final = 0.9
"""A column with this share of numbers among its values is one of numbers; the other cells are bad."""


class CellColumn:
    """What the cells of one column are.

    Parameters
    ----------
    name
        Of the column.
    detail
        How many distinct values are counted and listed.
    style
        How cells are written.
    """

    def __init__(self, name: str, detail: Detail, style: CellStyle) -> None:
        self._name = name
        self._detail = detail
        self._style = style
        self._rows = 0
        self._missing = 0
        self._texts = 0
        self._moments = Moments()
        self._counted: _Counted | None = _Counted(detail, style)
        self._likeness = LikenessScan()
        self._dates = True
        """Whether no cell was found yet that is neither a date nor missing."""
        self._odd: list[tuple[int, str]] = []
        """Row and cell of the first that are no finite numbers."""

    def add(self, first_row: int, cells: Cells) -> None:
        """Look through a block of cells, the first of which is in a row of this number, from 1."""
        self._rows += len(cells)
        found = None
        if self._counted is not None:
            found = self._counted.add(cells, self._likeness)
            if found is None:
                self._counted = None
                self._likeness.give_up_pattern()
            elif self._dates:
                self._dates = self._counted.are_dates()
        if found is None:
            found = numbers(cells, self._style)
            if self._dates:
                self._dates = _are_dates(cells, self._style)
        values, text = found
        self._likeness.add(*((values + 0.0,) if text is None else bytes_of(cells)))  # -0 is 0
        missing = np.isnan(values)
        gaps = int(np.count_nonzero(missing))
        texts = 0 if text is None else int(np.count_nonzero(text))
        self._texts += texts
        self._missing += gaps - texts
        infinite = self._moments.update(values) if gaps < len(values) else 0
        if (infinite or texts) and len(self._odd) < BAD_CELLS_OF_COLUMN:
            odd = np.isinf(values) if text is None else text | np.isinf(values)
            more = np.flatnonzero(odd)[: BAD_CELLS_OF_COLUMN - len(self._odd)]
            self._odd += [(first_row + at, cell_at(cells, at)) for at in more.tolist()]

    def likeness(self) -> Likeness:
        """Digest what is in the column."""
        return self._likeness.finish()

    def describe(self) -> tuple[Column, list[BadCell]]:
        """Describe the column and list its first bad cells."""
        name, detail, missing, texts = self._name, self._detail, self._missing, self._texts
        present = self._rows - missing
        counted = self._counted
        if present == 0:
            return describe(name, "empty", {}, detail, missing=missing), []
        if present - texts >= NUMERIC_SHARE * present:
            values = None if counted is None else counted.numbers()
            moments = self._moments.numbers()
            column = describe_numbers(name, values, detail, missing=missing, texts=texts, numbers=moments)
            return column, [bad_cell(row, name, cell, self._style) for row, cell in self._odd]
        labels = None if counted is None else counted.labels()
        if labels is not None and all(label.lower() in TRUTH for label in labels):
            truth = Counter[bool]()
            for label, count in labels.items():
                truth[TRUTH[label.lower()]] += count
            return describe(name, "boolean", truth, detail, missing=missing), []
        column = describe(name, "text", labels, detail, missing=missing)
        return replace(column, date=self._dates), []


class _Counted:
    """The distinct cells of a column, as long as there are few."""

    def __init__(self, detail: Detail, style: CellStyle) -> None:
        self._most = detail.distinct
        self._style = style
        self._room_chars = detail.chars
        self._codes: dict[str, int] = {}
        self._gaps = 0
        """So many of them stand for no value."""
        self._times = np.zeros(0, np.int64)
        self._value = np.zeros(0)
        """The number that each distinct cell is; NaN where it is none."""
        self._text = np.zeros(0, np.bool_)
        self._has_text = False
        self._meaning: list[float | str | None] = []
        """The value of each distinct cell: two may be of one."""
        self._looked_at = 0
        """So many of them were found to be dates or missing."""

    def add(self, cells: Cells, likeness: LikenessScan) -> tuple[NDArray[np.float64], NDArray[np.bool_] | None] | None:
        """Count a block; return what ``numbers`` does, or ``None`` when there are too many distinct cells."""
        distinct, places = labels(cells)
        new = [cell for cell in distinct if cell not in self._codes]
        self._room_chars -= sum(map(len, new))
        if len(self._codes) + len(new) > self._most + len(self._style.missing) or self._room_chars < 0:
            return None
        self._enter(new)
        if len(self._codes) - self._gaps > self._most:
            return None
        codes = np.fromiter(map(self._codes.__getitem__, distinct), np.intp, len(distinct))
        self._times[codes] += np.bincount(places, minlength=len(distinct))[: len(distinct)]
        likeness.add_pattern(map(self._meaning.__getitem__, codes.tolist()), places)
        values = np.append(self._value[codes], np.nan)[places]
        text = np.append(self._text[codes], False) if self._has_text else None
        return values, text[places] if text is not None and text.any() else None

    def _enter(self, cells: list[str]) -> None:
        self._codes.update(zip(cells, range(len(self._codes), len(self._codes) + len(cells)), strict=True))
        meaning = self._style.meanings(cells)
        self._meaning += meaning
        self._gaps += meaning.count(None)
        kinds = set(map(type, meaning))
        value = meaning if kinds == {float} else [one if isinstance(one, float) else np.nan for one in meaning]
        self._value = _grown(self._value, np.array(value, np.float64))
        text = [isinstance(one, str) for one in meaning] if str in kinds else np.zeros(len(cells), np.bool_)
        self._has_text |= str in kinds
        self._text = _grown(self._text, np.array(text, np.bool_))
        self._times = _grown(self._times, np.zeros(len(cells), np.int64))

    def are_dates(self) -> bool:
        """Whether all cells that have a value are dates; those that were looked at before were."""
        cells = list(self._codes)[self._looked_at :]
        self._looked_at = len(self._codes)
        try:
            for cell in cells:
                if not self._style.is_missing(cell):
                    as_seconds(cell)
        except ValueError:
            return False
        return True

    def numbers(self) -> dict[float, int]:
        """Return how often each finite number is there."""
        found: dict[float, int] = {}
        for value, times in zip(self._meaning, self._times.tolist(), strict=True):
            if isinstance(value, float) and math.isfinite(value):
                found[value] = found.get(value, 0) + times
        return found

    def labels(self) -> Counter[str]:
        """Return how often each distinct cell is there, without the missing ones and without spaces around."""
        return stripped(dict(zip(self._codes, self._times.tolist(), strict=True)), self._style)


def _grown(array: NDArray[Any], more: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate((array, more)) if len(array) else more


def _are_dates(cells: Cells, style: CellStyle) -> bool:
    try:
        seconds(cells, style)
    except ValueError:
        return False
    return True
