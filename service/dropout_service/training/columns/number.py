"""Numbers and booleans: filled where there is a gap, centred, scaled, and clipped smoothly if asked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from dropout_service.training.columns.base import ColumnEncoder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dropout_service.training.columns.base import RawColumn, Values

__all__ = ["BooleanEncoder", "NumberEncoder"]

_CLIP = 3.0
"""Of robust scaling: values go to this bound as they go to infinity (Holzmueller et al. 2024)."""


@dataclass(frozen=True, slots=True)
class NumberEncoder(ColumnEncoder):
    """z = (x - center) / scale, of ``fill`` where x has no value; with ``clip`` c, z / sqrt(1 + (z / c)^2).

    Parameters
    ----------
    center, scale
        ``scale`` is positive.
    fill
        What stands for a gap, in the unit of x.
    gaps
        Whether training rows had gaps: then a second column tells them, 1 where there is one and 0 elsewhere.
    clip
        Bound of the smooth clip; ``None`` for none.
    """

    kind: ClassVar[str] = "number"

    center: float
    scale: float
    fill: float
    gaps: bool = False
    clip: float | None = None

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """One number, and one more column that tells gaps."""
        return (0, 1) if self.gaps else (0,)

    @property
    def is_plain(self) -> bool:
        """Whether it is centred and scaled, and no more."""
        return not self.gaps and self.clip is None and self.fill == self.center

    @classmethod
    def fit(cls, raw: RawColumn) -> Self:
        """Fit robust scaling: the median, the distance of the quartiles, and a smooth clip at 3.

        Where the quartiles are equal half the range takes the place of their distance (Holzmueller et al. 2024).
        """
        values = raw.values
        present = values[~np.isnan(values)]
        if not present.size:
            return cls(0.0, 1.0, 0.0, gaps=True, clip=_CLIP)
        low, first, median, third, high = np.quantile(present, (0, 0.25, 0.5, 0.75, 1), overwrite_input=True).tolist()
        scale = third - first or (high - low) / 2
        if not (math.isfinite(scale) and scale > 0):
            scale = 1.0
        return cls(median, scale, median, gaps=present.size < values.size, clip=_CLIP)

    @classmethod
    def unscaled(cls, values: Values) -> Self:
        """Fill gaps with the mean of training rows, or with 0 if these have no value; leave the rest as it is.

        Parameters
        ----------
        values
            Raw values of the training rows.
        """
        missing = np.isnan(values)
        if not missing.any():
            return cls(0.0, 1.0, 0.0)
        return cls(0.0, 1.0, 0.0 if missing.all() else float(values[~missing].mean()), gaps=True)

    def encode(self, raw: RawColumn) -> Values:
        """Return (rows, width)."""
        missing = np.isnan(raw.values)
        z = (np.where(missing, self.fill, raw.values) - self.center) / self.scale
        if self.clip is not None:
            z = z / np.hypot(1, z / self.clip)  # which does not overflow
        return np.column_stack([z, missing]) if self.gaps else z[:, np.newaxis]

    def to_json(self) -> dict[str, Any]:
        """Return the fields."""
        return {"center": self.center, "scale": self.scale, "fill": self.fill, "gaps": self.gaps, "clip": self.clip}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        """Read the fields; the scale and the clip must be above 0."""
        clip = fields["clip"]
        encoder = cls(
            float(fields["center"]),
            float(fields["scale"]),
            float(fields["fill"]),
            gaps=bool(fields["gaps"]),
            clip=None if clip is None else float(clip),
        )
        numbers = (encoder.center, encoder.scale, encoder.fill, encoder.clip or 0.0)
        if not all(map(math.isfinite, numbers)) or encoder.scale <= 0 or (clip is not None and encoder.clip == 0):
            raise ValueError("a number needs a finite center and fill, and a scale and a clip above 0")
        return encoder


@dataclass(frozen=True, slots=True)
class BooleanEncoder(ColumnEncoder):
    """-1 for false and 1 for true, 0 where there is no value.

    Parameters
    ----------
    gaps
        As of ``NumberEncoder``.
    """

    kind: ClassVar[str] = "boolean"

    gaps: bool = False

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """One column, and one more that tells gaps."""
        return (1, 1) if self.gaps else (1,)

    @classmethod
    def fit(cls, raw: RawColumn) -> Self:
        """See whether there are gaps."""
        return cls(gaps=bool(np.isnan(raw.values).any()))

    def encode(self, raw: RawColumn) -> Values:
        """Return (rows, width)."""
        missing = np.isnan(raw.values)
        z = np.where(missing, 0.0, np.where(raw.values != 0, 1.0, -1.0))
        return np.column_stack([z, missing]) if self.gaps else z[:, np.newaxis]

    def to_json(self) -> dict[str, Any]:
        """Return the field."""
        return {"gaps": self.gaps}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        """Read the field."""
        return cls(gaps=bool(fields["gaps"]))
