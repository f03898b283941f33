"""Statistics of columns that arrive in blocks: moments, and counts of distinct values up to a bound."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

__all__ = ["Detail", "Moments", "Numbers", "count_bounded", "count_numbers"]

_DISTINCT_OF_COLUMN: Final = 10_000
_DISTINCT_OF_TABLE: Final = 1 << 21  # a count takes about 110 bytes
_CLASSES_OF_COLUMN: Final = 100
_CLASSES_OF_TABLE: Final = 100_000
_CHARS_OF_TABLE: Final = 1 << 27
_LEAST_CHARS: Final = 1 << 15

_MAX_WHOLE: Final = 2.0**53

T = TypeVar("T", str, float)


@dataclass(frozen=True, slots=True)
class Detail:
    """How closely each column is looked at: less closely in a wide table, whose description would have no bound.

    Parameters
    ----------
    distinct
        Up to here distinct values are counted exactly: 10,000 in a table of up to 209 columns.
    classes
        Up to here they are listed: 100 in a table of up to 1,000 columns.
    chars
        Characters of the distinct texts of a column, up to which they are counted.
    """

    distinct: int
    classes: int
    chars: int = 1 << 27

    @classmethod
    def of(cls, columns: int) -> Self:
        """Return the detail of a table of so many columns."""
        return cls(
            min(_DISTINCT_OF_COLUMN, max(1, _DISTINCT_OF_TABLE // columns)),
            min(_CLASSES_OF_COLUMN, max(2, _CLASSES_OF_TABLE // columns)),
            max(_LEAST_CHARS, _CHARS_OF_TABLE // columns),
        )


def count_bounded(
    counts: Counter[T] | None, values: Iterable[T] | Mapping[T, int], detail: Detail
) -> Counter[T] | None:
    """Add to the counts; ``None`` once there are more of them than the detail allows."""
    if counts is not None:
        counts.update(values)
        if len(counts) > detail.distinct:
            return None
    return counts


def count_numbers(counts: Counter[float] | None, values: NDArray[np.float64], detail: Detail) -> Counter[float] | None:
    """Add the finite ones of these values to the counts; ``None`` once there are more than the detail allows."""
    if counts is None:
        return None
    found, times = np.unique(values[np.isfinite(values)], return_counts=True)
    if len(found) > detail.distinct:
        return None
    return count_bounded(counts, dict(zip(found.tolist(), times.tolist(), strict=True)), detail)


@dataclass(frozen=True, slots=True)
class Numbers:
    """The moments of one column, of its finite values; ``None`` where there is none.

    Parameters
    ----------
    infinite
        How many values are infinite.
    whole
        Whether every value is an integer that a float64 holds exactly.
    min, max, mean, std
        ``std`` is the population standard deviation (ddof 0).
    """

    infinite: int
    whole: bool
    min: float | None
    max: float | None
    mean: float | None
    std: float | None


class Moments:
    """Count, minimum, maximum, mean and variance of every column, of the finite values only.

    The moments of the blocks are combined as in Chan, Golub and LeVeque (1983), which is stable whatever the mean.

    Parameters
    ----------
    columns
        Number of columns.
    """

    def __init__(self, columns: int) -> None:
        self._count = np.zeros(columns, np.int64)
        self._infinite = np.zeros(columns, np.int64)
        self._whole = np.ones(columns, np.bool_)
        self._min = np.full(columns, np.inf)
        self._max = np.full(columns, -np.inf)
        self._mean = np.zeros(columns)
        self._squares = np.zeros(columns)

    def update(self, block: NDArray[np.float64]) -> None:
        """Add rows, shape (rows, columns); NaN where there is no value."""
        finite = np.isfinite(block)
        count = finite.sum(axis=0)
        values = np.where(finite, block, 0.0)
        with np.errstate(over="ignore", invalid="ignore"):  # of values near 1e308; reported as no mean
            mean = values.sum(axis=0) / np.maximum(count, 1)
            squares = np.square(np.where(finite, block - mean, 0.0)).sum(axis=0)
            share = count / np.maximum(self._count + count, 1)
            delta = mean - self._mean
            self._squares += squares + delta * delta * (self._count * share)
            self._mean += delta * share
        self._count += count
        self._infinite += np.isinf(block).sum(axis=0)
        self._whole &= ((values == np.floor(values)) & (np.abs(values) < _MAX_WHOLE)).all(axis=0)
        self._min = np.minimum(self._min, np.where(finite, block, np.inf).min(axis=0))
        self._max = np.maximum(self._max, np.where(finite, block, -np.inf).max(axis=0))

    def of(self, column: int) -> Numbers:
        """Give the moments of one column, by its index."""
        count = int(self._count[column])
        moments = (
            float(self._min[column]),
            float(self._max[column]),
            float(self._mean[column]),
            math.sqrt(self._squares[column] / max(count, 1)),
        )
        low, high, mean, std = (value if count and math.isfinite(value) else None for value in moments)
        return Numbers(int(self._infinite[column]), bool(self._whole[column]), low, high, mean, std)
