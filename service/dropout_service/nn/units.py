"""Units of the target of a regression: from what a network says to what a person asked about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Values = NDArray[np.float64]

__all__ = ["CurvedUnit", "Unit"]

_NODES: Final = 32
"""Of the quadrature: for the logarithm and a deviation of 1.5 the error of the result is below 1e-4 of it."""


@dataclass(frozen=True, slots=True, eq=False)
class Unit:
    """A value z of the network stands for ``z * scale + mean``.

    Parameters
    ----------
    mean, scale
        Of several targets shape (targets,) each, and the last axis of all values below is that of the targets.
    """

    mean: float | Values = 0.0
    scale: float | Values = 1.0

    def values(self, z: Values) -> Values:
        """Return values of the network in the target's unit."""
        return z * self.scale + self.mean

    def measured(self, z: Values) -> Values:
        """Return that of which the spread over samples is taken, which ``spread`` brings into the target's unit."""
        return z

    def variance(self, z: Values, variance: Values) -> Values:
        """Return, likewise before ``spread``, the variance of the target where that of the network's value is given."""
        del z
        return variance

    def spread(self, deviation: Values) -> Values:
        """Return a deviation in the target's unit."""
        return deviation * self.scale


@dataclass(frozen=True, slots=True, eq=False)
class CurvedUnit(Unit):
    """A value z of the network stands for ``inverse(z * scale + mean)``.

    Deviations have no factor then: they are taken of values in the target's unit.

    Parameters
    ----------
    inverse
        A rising function, element by element.
    """

    inverse: Callable[[Values], Values] = np.positive

    def values(self, z: Values) -> Values:
        """Return values of the network in the target's unit."""
        return self.inverse(z * self.scale + self.mean)

    def measured(self, z: Values) -> Values:
        """Return the values themselves."""
        return self.values(z)

    def variance(self, z: Values, variance: Values) -> Values:
        """Return the variance of the target where the network's value is normal, by Gauss-Hermite quadrature."""
        nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
        weights = (weights / weights.sum()).reshape(-1, *[1] * z.ndim)
        values = self.values(z + np.multiply.outer(nodes, np.sqrt(variance)))
        return (weights * (values - (weights * values).sum(axis=0)) ** 2).sum(axis=0)

    def spread(self, deviation: Values) -> Values:
        """Return the deviation as it is."""
        return deviation
