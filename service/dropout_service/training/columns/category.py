"""Categories: one column for each of the frequent ones; rare and unknown ones share another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

import numpy as np

from dropout_service.training.columns.base import ColumnEncoder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dropout_service.training.columns.base import RawColumn, Values

__all__ = ["MOST_CATEGORIES", "CategoryEncoder", "frequent_labels", "read_labels"]

MOST_CATEGORIES: Final = 64
"""So many of the most frequent categories have a column of their own."""
_RARE_ROWS: Final = 3
"""A category of fewer training rows is rare, if there are enough rows for that."""
_ENOUGH_ROWS: Final = 100
_TWO: Final = 2


@dataclass(frozen=True, slots=True)
class CategoryEncoder(ColumnEncoder):
    """One-hot: 1 in the column of the category, 0 in the others.

    Two categories, with neither gaps nor others, share one column: -1 and 1.

    Parameters
    ----------
    labels
        The categories that have a column, sorted.
    others
        Whether training rows had rarer ones, which share a column, as do those that no training row had.
    gaps
        Whether training rows had gaps, which have a column then. Elsewhere a gap is 0 in all columns.
    """

    kind: ClassVar[str] = "category"

    labels: tuple[str, ...]
    others: bool = False
    gaps: bool = False

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Each is passed on; there is one at least, so that a column is never lost."""
        return (1,) if self._is_pair else (1,) * max(1, len(self.labels) + self.others + self.gaps)

    @property
    def _is_pair(self) -> bool:
        return len(self.labels) == _TWO and not (self.others or self.gaps)

    @classmethod
    def fit(cls, raw: RawColumn) -> Self:
        """Count the categories of the training rows; of equally frequent ones the first in order counts as more so."""
        kept, others = frequent_labels(raw, most=MOST_CATEGORIES)
        return cls(kept, others=others, gaps=bool(np.isnan(raw.values).any()))

    def encode(self, raw: RawColumn) -> Values:
        """Return (rows, width)."""
        values, labels = raw
        own = {label: column for column, label in enumerate(self.labels)}
        other = len(self.labels) if self.others else -1
        gap = len(self.labels) + self.others if self.gaps else -1
        # The last entry is for gaps; -1 is for what has no column.
        column_of = np.array([*(own.get(label, other) for label in labels), gap])
        missing = np.isnan(values)
        column = column_of[np.where(missing, len(labels), values).astype(np.intp)]
        if self._is_pair:
            return np.array([-1.0, 1.0, 0.0])[column][:, np.newaxis]
        encoded = np.zeros((values.size, self.width))
        known = np.flatnonzero(column >= 0)
        encoded[known, column[known]] = 1.0
        return encoded

    def to_json(self) -> dict[str, Any]:
        """Return the fields."""
        return {"labels": list(self.labels), "others": self.others, "gaps": self.gaps}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        """Read the fields; the labels must be distinct texts."""
        return cls(read_labels(fields), others=bool(fields["others"]), gaps=bool(fields["gaps"]))


def frequent_labels(raw: RawColumn, *, most: int) -> tuple[tuple[str, ...], bool]:
    """Return the categories that are not rare, at most so many of the most frequent, sorted; and if others are."""
    values, labels = raw
    counts = np.bincount(values[~np.isnan(values)].astype(np.intp), minlength=len(labels)).tolist()
    least = _RARE_ROWS if values.size >= _ENOUGH_ROWS else 1
    frequent = sorted((-count, label) for label, count in zip(labels, counts, strict=True) if count >= least)
    kept = sorted(label for _, label in frequent[:most])
    return tuple(kept), len(kept) < sum(map(bool, counts))


def read_labels(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the labels of an encoder's JSON fields, which must be distinct texts."""
    labels = tuple(fields["labels"])
    if not all(isinstance(label, str) for label in labels) or len(set(labels)) < len(labels):
        raise ValueError("the labels of a column must be distinct texts")
    return labels
