"""Categories of which there are many: each is a number, and a layer of the network learns what it means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

import numpy as np

from dropout_service.training.columns.base import ColumnEncoder
from dropout_service.training.columns.category import frequent_labels, read_labels

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dropout_service.training.columns.base import RawColumn, Values

__all__ = ["MOST_CODES", "CodeEncoder"]

MOST_CODES: Final = 1 << 14
"""So many of the most frequent categories have a code of their own."""


@dataclass(frozen=True, slots=True)
class CodeEncoder(ColumnEncoder):
    """The number of the category, from 1 on; 0 for what is rare or unknown, and a last one for gaps.

    A layer ``columns`` reads it. Where training rows had no gaps, a gap is 0.

    Parameters
    ----------
    labels
        The categories that have a code, sorted.
    gaps
        Whether training rows had gaps, which have a code then.
    """

    kind: ClassVar[str] = "code"

    labels: tuple[str, ...]
    gaps: bool = False

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """How many codes there are: two at least, so that it is no number."""
        return (max(2, 1 + len(self.labels) + self.gaps),)

    @classmethod
    def fit(cls, raw: RawColumn) -> Self:
        """Count the categories of the training rows, as ``CategoryEncoder.fit`` does."""
        kept, _ = frequent_labels(raw, most=MOST_CODES)
        return cls(kept, gaps=bool(np.isnan(raw.values).any()))

    def encode(self, raw: RawColumn) -> Values:
        """Return the codes, (rows, 1)."""
        values, labels = raw
        own = {label: code for code, label in enumerate(self.labels, start=1)}
        gap = len(self.labels) + 1 if self.gaps else 0
        code_of = np.array([*(own.get(label, 0) for label in labels), gap], np.float64)
        return code_of[np.where(np.isnan(values), len(labels), values).astype(np.intp)][:, np.newaxis]

    def to_json(self) -> dict[str, Any]:
        """Return the fields."""
        return {"labels": list(self.labels), "gaps": self.gaps}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        """Read the fields; the labels must be distinct texts."""
        return cls(read_labels(fields), gaps=bool(fields["gaps"]))
