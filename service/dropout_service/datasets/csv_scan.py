"""Look through a CSV file once and describe its columns."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from dropout_service.datasets.cells import MISSING, TRUTH, is_missing, is_number, numbers
from dropout_service.datasets.columns import BAD_CELLS_OF_COLUMN, bad_cell, describe, describe_numbers
from dropout_service.datasets.statistics import Detail, Moments, count_bounded
from dropout_service.errors import InvalidInputError
from dropout_service.training.columns.cells import as_seconds

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Set as AbstractSet

    from dropout_service.datasets.csv_table import CsvTable
    from dropout_service.datasets.dataset import BadCell, Column

__all__ = ["CsvScan", "stripped"]

NUMERIC_SHARE: Final = 0.9
"""A column with this share of numbers among its values is one of numbers; the other cells are bad."""


class CsvScan:
    """One pass over the cells of a CSV file.

    Parameters
    ----------
    table
        The file.

    Raises
    ------
    InvalidInputError
        A row cannot be read, or there is none.
    """

    def __init__(self, table: CsvTable) -> None:
        self.names = table.names
        self._marks = table.missing
        self.rows = 0
        """Rows without the header."""
        width = len(table.names)
        self._detail = Detail.of(width)
        self._moments = Moments(width)
        self._missing = [0] * width
        self._texts = [0] * width
        self._dates = [True] * width
        """Whether no cell was found yet that is neither a date nor missing."""
        self._counts: list[Counter[str] | None] = [Counter() for _ in range(width)]
        self._odd: list[list[tuple[int, str]]] = [[] for _ in range(width)]  # row and cell of the first non-numbers
        for first_row, block in table.blocks():
            self._add(first_row, block)
        if self.rows == 0:
            raise InvalidInputError("the file has a header but no rows")

    def _add(self, first_row: int, block: list[tuple[str, ...]]) -> None:
        rows = len(block[0])
        values = np.empty((rows, len(block)), order="F")
        for index, cells in enumerate(block):
            column, text = numbers(cells, self._marks)
            values[:, index] = column
            texts = int(np.count_nonzero(text))
            self._texts[index] += texts
            self._missing[index] += int(np.count_nonzero(np.isnan(column))) - texts
            counts = self._counts[index]
            if self._dates[index]:  # what was counted was looked at
                self._dates[index] = self._are_dates(set(cells).difference(counts or ()))
            self._counts[index] = count_bounded(counts, cells, self._detail)
            odd = self._odd[index]
            if len(odd) < BAD_CELLS_OF_COLUMN:
                found = np.flatnonzero(text | np.isinf(column))[: BAD_CELLS_OF_COLUMN - len(odd)]
                odd += [(first_row + at, cells[at]) for at in found.tolist()]
        self._moments.update(values)
        self.rows += rows

    def columns(self) -> list[tuple[Column, list[BadCell]]]:
        """Describe each column and list its first bad cells."""
        return [self._column(index, name) for index, name in enumerate(self.names)]

    def _column(self, index: int, name: str) -> tuple[Column, list[BadCell]]:
        missing, texts, counts = self._missing[index], self._texts[index], self._counts[index]
        present = self.rows - missing
        labels = None if counts is None else stripped(counts, self._marks)
        if present == 0:
            return describe(name, "empty", {}, self._detail, missing=missing), []
        if labels is not None and all(label.lower() in TRUTH for label in labels):
            truth = Counter[bool]()
            for label, count in labels.items():
                truth[TRUTH[label.lower()]] += count
            return describe(name, "boolean", truth, self._detail, missing=missing), []
        if present - texts >= NUMERIC_SHARE * present:
            values = None if labels is None else _values(labels)
            numbers_of = self._moments.of(index)
            column = describe_numbers(name, values, self._detail, missing=missing, texts=texts, numbers=numbers_of)
            return column, [bad_cell(row, name, cell) for row, cell in self._odd[index]]
        column = describe(name, "text", labels, self._detail, missing=missing)
        return replace(column, date=self._dates[index]), []

    def _are_dates(self, cells: Iterable[str]) -> bool:
        """Whether all cells that have a value are dates; the first that is not ends the look."""
        try:
            for cell in cells:
                if not is_missing(cell, self._marks):
                    as_seconds(cell)
        except ValueError:
            return False
        return True


def stripped(counts: Counter[str], marks: AbstractSet[str] = MISSING) -> Counter[str]:
    """Leave out the missing cells, and the spaces around the others."""
    labels = Counter[str]()
    for cell, count in counts.items():
        label = cell.strip()
        if label not in marks:
            labels[label] += count
    return labels


def _values(counts: Counter[str]) -> Counter[float]:
    values = Counter[float]()
    for cell, count in counts.items():
        if is_number(cell) and math.isfinite(value := float(cell)):
            values[value] += count
    return values
