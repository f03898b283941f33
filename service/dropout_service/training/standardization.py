"""Standardisation of columns, fitted on the training part and kept in the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from dropout_service.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from dropout_service.training.blocks import RowBlocks

__all__ = ["Standardization"]


@dataclass(frozen=True, slots=True, eq=False)
class Standardization:
    """z = (x - mean) / scale, column by column.

    Parameters
    ----------
    mean, scale
        float64, shape (columns,); every scale is positive.
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]

    @classmethod
    def identity(cls, columns: int) -> Self:
        """Leave values as they are."""
        return cls(np.zeros(columns), np.ones(columns))

    @classmethod
    def fit(cls, rows: RowBlocks, *, names: Sequence[str], pointer: str) -> Self:
        """Take mean and standard deviation of the columns over some rows.

        A constant column gets scale 1: it becomes 0 and stays finite whatever a prediction brings. ``names`` and
        ``pointer`` say where a fault is.

        Raises
        ------
        InvalidInputError
            Values so large that their variance overflows float64.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            mean = sum((part.sum(axis=0) for part in rows), np.zeros(rows.width)) / len(rows)
            # The mean of equal values may be off by a rounding, which would be all the deviation there is
            first = next(iter(rows))[0]
            constant = np.logical_and.reduce([(part == first).all(axis=0) for part in rows])
            mean = np.where(constant, first, mean)
            squares = sum((((part - mean) ** 2).sum(axis=0) for part in rows), np.zeros(rows.width))
            scale = np.sqrt(squares / len(rows))
        scale[scale == 0] = 1.0  # constant, or so close to it that the squares vanish
        bad = np.flatnonzero(~np.isfinite(mean) | ~np.isfinite(scale))
        if bad.size:
            raise InvalidInputError.at(
                pointer,
                f"values of `{names[bad[0]]}` are too large to standardise (their variance overflows float64); "
                "bring them to a smaller unit",
            )
        return cls(mean, scale)

    def apply(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``x`` standardised."""
        return (x - self.mean) / self.scale

    def to_json(self) -> dict[str, list[float]]:
        """Return both vectors as lists; every float survives exactly."""
        return {"mean": self.mean.tolist(), "scale": self.scale.tolist()}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        """Build from what ``to_json`` gave."""
        return cls(np.asarray(fields["mean"], np.float64), np.asarray(fields["scale"], np.float64))
