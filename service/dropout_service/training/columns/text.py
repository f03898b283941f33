"""Texts of many distinct values: what letters they have, hashed."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

import numpy as np

from dropout_service.training.columns.base import ColumnEncoder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dropout_service.training.columns.base import RawColumn, Values

__all__ = ["TEXT_COLUMNS", "TextEncoder"]

TEXT_COLUMNS: Final = 32
"""Columns that a text gives."""
_LETTERS: Final = 3
_LONGEST: Final = 1000
"""Letters of a text that are looked at."""


@dataclass(frozen=True, slots=True)
class TextEncoder(ColumnEncoder):
    """Counts of hashed words and triples of letters, each text scaled to length 1 (Weinberger et al. 2009).

    A word that no training row had shares triples with those that had. A gap is 0 everywhere.

    Parameters
    ----------
    buckets
        Columns that it gives.
    """

    kind: ClassVar[str] = "text"

    buckets: int = TEXT_COLUMNS

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """A number for each bucket."""
        return (0,) * self.buckets

    @classmethod
    def fit(cls, raw: RawColumn) -> Self:  # noqa: ARG003 - as of any encoder
        """Fit nothing: a hash needs no training rows."""
        return cls()

    def encode(self, raw: RawColumn) -> Values:
        """Return (rows, width)."""
        values, labels = raw
        rows = np.zeros((len(labels) + 1, self.buckets))  # the last for gaps
        for row, label in zip(rows, labels, strict=False):
            for part in _parts(label):
                code = zlib.crc32(part.encode())
                row[code % self.buckets] += 1.0 if code & 0x8000_0000 else -1.0
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        rows *= math.sqrt(self.buckets) / np.where(lengths == 0, 1, lengths)
        return rows[np.where(np.isnan(values), len(labels), values).astype(np.intp)]

    def to_json(self) -> dict[str, Any]:
        """Return the field."""
        return {"buckets": self.buckets}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        """Read the field."""
        if fields["buckets"] != TEXT_COLUMNS:
            raise ValueError(f"a text has {TEXT_COLUMNS} buckets")
        return cls()


def _parts(text: str) -> list[str]:
    words = text[:_LONGEST].casefold().split()
    padded = [f" {word} " for word in words]
    triples = [word[i : i + _LETTERS] for word in padded for i in range(len(word) - _LETTERS + 1)]
    return [*padded, *triples]
