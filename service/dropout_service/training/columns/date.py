"""Dates and times: the moment as a number, and what repeats as sine and cosine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

import numpy as np

from dropout_service.training.columns.base import ColumnEncoder
from dropout_service.training.columns.number import NumberEncoder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dropout_service.training.columns.base import RawColumn, Values

__all__ = ["CYCLES", "MOST_DATE_COLUMNS", "DateEncoder"]

_DAY_S: Final = 86_400.0
_YEAR_S: Final = 365.2425 * _DAY_S
_MONDAY_S: Final = -3 * _DAY_S
"""1970 began on a Thursday."""

CYCLES: Final[Mapping[str, tuple[float, float]]] = {
    "year": (_YEAR_S, 0.0),
    "week": (7 * _DAY_S, _MONDAY_S),
    "day": (_DAY_S, 0.0),
}
"""What repeats: its length and its beginning in seconds. Days are those of UTC; a year has 365.2425 of them."""
MOST_DATE_COLUMNS: Final = 2 + 2 * len(CYCLES)
"""Most columns that a date gives."""


@dataclass(frozen=True, slots=True)
class DateEncoder(ColumnEncoder):
    """The moment, scaled as a number is, and sine and cosine of its place in each cycle that varies.

    Parameters
    ----------
    moment
        Scales the seconds since 1970; its gaps are those of the column.
    cycles
        Names of ``CYCLES`` whose phase takes more than one value in training rows.
    """

    kind: ClassVar[str] = "date"

    moment: NumberEncoder
    cycles: tuple[str, ...]

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Those of the moment, and two numbers of each cycle."""
        return (*self.moment.cardinalities, *(0, 0) * len(self.cycles))

    @classmethod
    def fit(cls, raw: RawColumn) -> Self:
        """Fit the scale, and see what varies."""
        present = raw.values[~np.isnan(raw.values)]
        spread = float(np.ptp(present)) if present.size else 0.0
        cycles = [
            name
            for name, (length_s, begin_s) in CYCLES.items()
            # A part of one cycle is told by the moment alone.
            if spread > length_s and np.ptp((present - begin_s) % length_s) > 0
        ]
        return cls(NumberEncoder.fit(raw), tuple(cycles))

    def encode(self, raw: RawColumn) -> Values:
        """Return (rows, width); where there is no value, sine and cosine are 0."""
        parts = [self.moment.encode(raw)]
        for name in self.cycles:
            length_s, begin_s = CYCLES[name]
            angle = 2 * np.pi * (((raw.values - begin_s) % length_s) / length_s)
            parts.append(np.nan_to_num(np.column_stack([np.sin(angle), np.cos(angle)])))
        return np.hstack(parts)

    def to_json(self) -> dict[str, Any]:
        """Return the fields."""
        return {"moment": self.moment.to_json(), "cycles": list(self.cycles)}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        """Read the fields; each cycle must be one of ``CYCLES``."""
        cycles = tuple(fields["cycles"])
        if len(set(cycles)) < len(cycles) or not set(cycles) <= set(CYCLES):
            raise ValueError(f"the cycles of a date are {', '.join(CYCLES)}")
        return cls(NumberEncoder.from_json(fields["moment"]), cycles)
