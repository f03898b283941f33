"""Statistics of columns that arrive in blocks: moments, and counts of distinct values up to a bound."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["FEW", "Detail", "Moments", "Numbers", "count_bounded", "count_numbers", "distinct_of_few"]

FEW: Final = 256
"""So few values are counted faster one by one."""
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


def distinct_of_few(values: Sequence[T | None]) -> tuple[list[T], NDArray[np.int32]]:
    """Find the distinct values in the order in which they come, and the index of each, behind the last for none."""
    distinct = [value for value in dict.fromkeys(values) if value is not None]
    places: dict[T | None, int] = dict(zip(distinct, range(len(distinct)), strict=True))
    places[None] = len(distinct)
    return distinct, np.fromiter(map(places.__getitem__, values), np.int32, len(values))


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
    """Count, minimum, maximum, mean and variance of a column, of the finite values only.

    The moments of the blocks are combined as in Chan, Golub and LeVeque (1983), which is stable whatever the mean.
    """

    def __init__(self) -> None:
        self._count = 0
        self._infinite = 0
        self._whole = True
        self._min = math.inf
        self._max = -math.inf
        self._mean = 0.0
        self._squares = 0.0

    def update(self, values: NDArray[np.float64]) -> int:
        """Add rows, shape (rows,), NaN where there is no value; return how many are infinite."""
        finite = np.isfinite(values)
        count = int(np.count_nonzero(finite))
        gaps = None if count == len(values) else ~finite
        infinite = 0 if gaps is None else int(np.count_nonzero(np.isinf(values)))
        self._infinite += infinite
        if count == 0:
            return infinite
        low, high = float(_filled(values, gaps, np.inf).min()), float(_filled(values, gaps, -np.inf).max())
        there = _filled(values, gaps, 0.0)
        with np.errstate(over="ignore", invalid="ignore"):  # of values near 1e308; reported as no mean
            mean = float(there.sum()) / count
            apart = _filled(values - mean, gaps, 0.0)
            squares = float((apart * apart).sum())
        share = count / (self._count + count)
        delta = mean - self._mean
        self._squares += squares + delta * delta * (self._count * share)
        self._mean += delta * share
        self._count += count
        self._whole = self._whole and low > -_MAX_WHOLE and high < _MAX_WHOLE and bool((there == np.floor(there)).all())
        self._min, self._max = min(self._min, low), max(self._max, high)
        return infinite

    def numbers(self) -> Numbers:
        """Give the moments."""
        std = math.sqrt(self._squares / max(self._count, 1))
        moments = (self._min, self._max, self._mean, std)
        low, high, mean, std = (value if self._count and math.isfinite(value) else None for value in moments)
        return Numbers(self._infinite, self._whole, low, high, mean, std)


def _filled(values: NDArray[np.float64], gaps: NDArray[np.bool_] | None, value: float) -> NDArray[np.float64]:
    return values if gaps is None else np.where(gaps, value, values)
