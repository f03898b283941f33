"""Standardisation of columns, fitted on the training part and kept in the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from dropout_service.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["Scaling"]


@dataclass(frozen=True, slots=True, eq=False)
class Scaling:
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
    def fit(cls, x: NDArray[np.float64], *, pointer: str) -> Self:
        """Take mean and standard deviation of the columns of ``x`` (rows, columns).

        A constant column gets scale 1: it becomes 0 and stays finite whatever a prediction brings.

        Raises
        ------
        InvalidInputError
            Values so large that their variance overflows float64.
        """
        constant = x.max(axis=0) == x.min(axis=0)
        with np.errstate(over="ignore", invalid="ignore"):
            mean = np.where(constant, x[0], x.mean(axis=0))
            scale = np.where(constant, 1.0, x.std(axis=0))
        # The deviation of denormal values can round to 0
        scale[scale == 0] = 1.0
        bad = np.flatnonzero(~np.isfinite(mean) | ~np.isfinite(scale))
        if bad.size:
            raise InvalidInputError.at(
                pointer,
                f"values of column {bad[0]} are too large to standardise (their variance overflows float64); "
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
