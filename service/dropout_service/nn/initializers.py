"""Initial weights: a variance that depends on the fan, drawn from a normal or a uniform distribution.

========= ======================== ==========================================================================
scheme    variance                 paper
========= ======================== ==========================================================================
he        2 / inputs               He et al. (2015), "Delving deep into rectifiers"
glorot    2 / (inputs + units)     Glorot and Bengio (2010), "Understanding the difficulty of training deep
                                   feedforward neural networks"
lecun     1 / inputs               LeCun et al. (1998), "Efficient BackProp"
========= ======================== ==========================================================================
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from dropout_service.kernels import streams

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import DTypeLike, NDArray

__all__ = ["INITIALIZERS", "Initializer", "default_initializer"]


@dataclass(frozen=True, slots=True)
class Initializer:
    """Draw a weight matrix with a variance that keeps the scale of signals from layer to layer.

    Parameters
    ----------
    variance
        Variance of an element as a function of (inputs, units).
    distribution
        ``normal``, or ``uniform`` on the interval of that variance.
    """

    variance: Callable[[int, int], float]
    distribution: Literal["normal", "uniform"]

    def __call__(
        self,
        inputs: int,
        units: int,
        *,
        seed: int,
        layer: int,
        copies: int | None = None,
        dtype: DTypeLike = np.float32,
    ) -> NDArray[np.floating]:
        """Return the initial weights of shape (inputs, units): a pure function of the arguments.

        Parameters
        ----------
        inputs, units
            Fan-in and fan-out of the layer.
        seed, layer
            Address of the random stream.
        copies
            Number of such matrices: the shape is then (copies, inputs, units).
        dtype
            ``float32`` or ``float64``.
        """
        offset = streams.stream(streams.Purpose.INIT, layer=layer)
        shape = (inputs, units) if copies is None else (copies, inputs, units)
        deviation = math.sqrt(self.variance(inputs, units))
        # Drawn in float64 and rounded once: the float32 weights are those of the float64 network, rounded.
        if self.distribution == "normal":
            draw = streams.normal(shape, seed=seed, offset=offset, dtype=np.float64) * deviation
        else:
            limit = math.sqrt(3.0) * deviation
            draw = (2.0 * streams.uniform(shape, seed=seed, offset=offset, dtype=np.float64) - 1.0) * limit
        return draw.astype(dtype)


def _he(inputs: int, units: int) -> float:
    del units
    return 2.0 / inputs


def _glorot(inputs: int, units: int) -> float:
    return 2.0 / (inputs + units)


def _lecun(inputs: int, units: int) -> float:
    del units
    return 1.0 / inputs


INITIALIZERS: dict[str, Initializer] = {
    "he_normal": Initializer(_he, "normal"),
    "he_uniform": Initializer(_he, "uniform"),
    "glorot_normal": Initializer(_glorot, "normal"),
    "glorot_uniform": Initializer(_glorot, "uniform"),
    "lecun_normal": Initializer(_lecun, "normal"),
    "lecun_uniform": Initializer(_lecun, "uniform"),
}


_SUITABLE: dict[str | None, str] = {
    "relu": "he_normal",
    "gelu": "he_normal",
    "silu": "he_normal",
    "mish": "he_normal",
    "selu": "lecun_normal",
}


def default_initializer(activation: str | None) -> str:
    """Return the name of the initializer that suits an activation, ``None`` being linear (what ``auto`` means)."""
    return _SUITABLE.get(activation, "glorot_uniform")
