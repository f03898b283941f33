"""One column of numbers, looked through block by block and then described."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from dropout_service.datasets.columns import BAD_CELLS_OF_COLUMN, bad_cell, describe, describe_numbers
from dropout_service.datasets.likeness import LikenessScan
from dropout_service.datasets.statistics import FEW, Moments, count_bounded, count_numbers, distinct_of_few

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dropout_service.datasets.dataset import BadCell, Column
    from dropout_service.datasets.likeness import Likeness
    from dropout_service.datasets.statistics import Detail

__all__ = ["NumberColumn"]


class NumberColumn:
    """What the numbers of one column are.

    Parameters
    ----------
    name
        Of the column.
    detail
        How many distinct values are counted and listed.
    boolean
        Whether they are truth values.
    """

    def __init__(self, name: str, detail: Detail, *, boolean: bool = False) -> None:
        self._name = name
        self._detail = detail
        self._boolean = boolean
        self._rows = 0
        self._missing = 0
        self._moments = Moments()
        self._counts: Counter[float] | None = Counter()
        self._likeness = LikenessScan()
        self._odd: list[tuple[int, str]] = []

    def add(self, first_row: int, values: NDArray[np.float64]) -> None:
        """Look through a block, shape (rows,), NaN where there is no value; its first row has this number, from 1."""
        self._rows += len(values)
        self._missing += int(np.count_nonzero(np.isnan(values)))
        infinite = self._moments.update(values)
        self._count(values)
        self._likeness.add(values + 0.0)  # -0 is 0
        if infinite and len(self._odd) < BAD_CELLS_OF_COLUMN:
            more = np.flatnonzero(np.isinf(values))[: BAD_CELLS_OF_COLUMN - len(self._odd)]
            self._odd += [(first_row + at, str(values[at])) for at in more.tolist()]

    def likeness(self) -> Likeness:
        """Digest what is in the column."""
        return self._likeness.finish()

    def _count(self, values: NDArray[np.float64]) -> None:
        if self._counts is None:
            return
        if len(values) <= FEW:
            self._count_few(values)
            return
        self._counts = count_numbers(self._counts, values, self._detail)
        if self._counts is None:
            self._likeness.give_up_pattern()
            return
        distinct, first, places = np.unique(values, return_index=True, return_inverse=True)
        order = np.argsort(first)  # as they come
        rank = np.empty(len(order), np.intp)
        rank[order] = np.arange(len(order))
        keys = [None if np.isnan(value) else value for value in distinct[order].tolist()]
        self._likeness.add_pattern(keys, rank[places])

    def _count_few(self, values: NDArray[np.float64]) -> None:
        distinct, places = distinct_of_few([None if math.isnan(value) else value for value in values.tolist()])
        times = np.bincount(places, minlength=len(distinct)).tolist()
        finite = {value: count for value, count in zip(distinct, times, strict=False) if math.isfinite(value)}
        self._counts = count_bounded(self._counts, finite, self._detail)
        if self._counts is None:
            self._likeness.give_up_pattern()
        self._likeness.add_pattern(distinct, places)

    def describe(self) -> tuple[Column, list[BadCell]]:
        """Describe the column and list its first bad cells."""
        name, detail, missing = self._name, self._detail, self._missing
        if self._boolean:
            truth = {bool(value): count for value, count in (self._counts or {}).items()}
            return describe(name, "boolean", truth, detail, missing=0), []
        if missing == self._rows:
            return describe(name, "empty", {}, detail, missing=missing), []
        moments = self._moments.numbers()
        column = describe_numbers(name, self._counts, detail, missing=missing, texts=0, numbers=moments)
        return column, [bad_cell(row, name, cell) for row, cell in self._odd]
