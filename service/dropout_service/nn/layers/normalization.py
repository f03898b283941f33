"""Layer and batch normalisation; the rows ``layer_norm`` and ``batch_norm`` of the registry.

Layer normalisation: Ba, Kiros and Hinton (2016), "Layer normalization". Batch normalisation: Ioffe and Szegedy (2015),
"Batch normalization: accelerating deep network training by reducing internal covariate shift".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from dropout_service.kernels.training import normalization
from dropout_service.kernels.variants.parameters import Parameter
from dropout_service.nn.layers.base import NOTHING, Layer, Rows
from dropout_service.nn.layers.kind import LayerKind
from dropout_service.nn.ops import Op

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import DTypeLike, NDArray

    from dropout_service.nn.layers.kind import Place
    from dropout_service.nn.layers.rules import DropoutRule
    from dropout_service.nn.mode import Mode

    Floats = NDArray[np.floating]

__all__ = ["BATCH_NORM", "LAYER_NORM", "BatchNorm", "LayerNorm"]


class LayerNorm(Layer):
    """y = (x - mean) / sqrt(variance + epsilon) gain + bias, with the moments of the units of each row.

    Parameters
    ----------
    units
        Columns of the input.
    epsilon
        Added to the variance.
    dtype
        ``float32`` or ``float64``.
    """

    def __init__(self, units: int, *, epsilon: float = 1e-5, dtype: DTypeLike = np.float32) -> None:
        self.units = units
        self.shapes = {"gain": (units,), "bias": (units,)}
        self.description = {"kind": "layer_norm", "inputs": units, "epsilon": epsilon}
        self._epsilon = epsilon
        self._output, self._normalized = Rows(units, dtype), Rows(units, dtype)
        self._inverse = np.empty(0)

    def initialize(self, initializer: str, *, seed: int, number: int) -> None:
        """Begin with gain 1 and bias 0."""
        del initializer, seed, number
        self.params["gain"][:] = 1

    def forward(self, x: Floats, mode: Mode, *, differentiable: bool) -> Floats:
        """Return the normalised rows, shape (rows, units)."""
        del mode, differentiable
        rows = len(x)
        output, normalized = self._output.first(rows), self._normalized.first(rows)
        if rows > self._inverse.size:
            self._inverse = np.empty(rows)
        normalization.layer_normalize(
            x, self.params["gain"], self.params["bias"], self._epsilon, normalized, self._inverse, output
        )
        return output

    def backward(self, grad_output: Floats, *, input_gradient: bool) -> Floats | None:
        """Write the gradients of gain and bias; ``grad_output`` is overwritten."""
        rows = len(grad_output)
        normalization.layer_backward(
            grad_output,
            self._normalized.first(rows),
            self._inverse,
            self.params["gain"],
            self.grads["gain"],
            self.grads["bias"],
        )
        return grad_output if input_gradient else None

    def lower(self) -> tuple[Op, ...]:
        """Return the moments of a row and what is done with them as operations."""
        return (
            Op("row_mean", ("x",), "mean"),
            Op("subtract", ("x", "mean"), "centred"),
            Op("multiply", ("centred", "centred"), "squares"),
            Op("row_mean", ("squares",), "variance"),
            *_normalized("centred", "variance", self._epsilon),
        )


class BatchNorm(Layer):
    """y = (x - mean) / sqrt(variance + epsilon) gain + bias, with moments of each unit.

    A training pass takes those of its rows and moves the running ones, which all other passes take. A pass over one
    row, which has no deviation, takes the running ones in training as well, and leaves them as they are.

    Parameters
    ----------
    units
        Columns of the input.
    momentum
        What a training pass leaves of the running moments: running = momentum running + (1 - momentum) of the pass,
        whose variance is the unbiased one.
    epsilon
        Added to the variance.
    dtype
        ``float32`` or ``float64``.
    """

    batch_statistics: ClassVar[bool] = True

    def __init__(
        self, units: int, *, momentum: float = 0.9, epsilon: float = 1e-5, dtype: DTypeLike = np.float32
    ) -> None:
        self.units = units
        self.shapes = {"gain": (units,), "bias": (units,)}
        self.buffer_shapes = {"running_mean": (units,), "running_variance": (units,)}
        self.description = {"kind": "batch_norm", "inputs": units, "momentum": momentum, "epsilon": epsilon}
        self._momentum, self._epsilon = momentum, epsilon
        self._output, self._normalized = Rows(units, dtype), Rows(units, dtype)
        self._of_rows = False
        self._mean = self._variance = self._inverse = np.empty(0)
        self._sums = np.empty((2, 0))

    def bind(
        self, params: Mapping[str, Floats], grads: Mapping[str, Floats], buffers: Mapping[str, Floats] = NOTHING
    ) -> None:
        """Take the arrays, and memory for the moments of a pass."""
        super().bind(params, grads, buffers)
        self._mean, self._variance, self._inverse = (np.empty(self.units) for _ in range(3))
        self._sums = np.empty((2, self.units))

    def initialize(self, initializer: str, *, seed: int, number: int) -> None:
        """Begin with gain 1 and bias 0, running mean 0 and variance 1."""
        del initializer, seed, number
        self.params["gain"][:] = 1
        self.buffers["running_variance"][:] = 1

    def forward(self, x: Floats, mode: Mode, *, differentiable: bool) -> Floats:
        """Return the normalised units, shape (rows, units)."""
        del differentiable
        rows = len(x)
        self._of_rows = mode.kind == "training" and rows > 1
        if self._of_rows:
            normalization.batch_moments(x, self._mean, self._variance)
            self._move(rows)
        else:
            self._mean[:] = self.buffers["running_mean"]
            self._variance[:] = self.buffers["running_variance"]
        np.add(self._variance, self._epsilon, out=self._inverse)
        np.sqrt(self._inverse, out=self._inverse)
        np.divide(1, self._inverse, out=self._inverse)
        output = self._output.first(rows)
        normalization.batch_normalize(
            x,
            self._mean,
            self._inverse,
            self.params["gain"],
            self.params["bias"],
            self._normalized.first(rows),
            output,
        )
        return output

    def backward(self, grad_output: Floats, *, input_gradient: bool) -> Floats | None:
        """Write the gradients of gain and bias; ``grad_output`` is overwritten."""
        normalization.batch_backward(
            grad_output,
            self._normalized.first(len(grad_output)),
            self._inverse,
            self.params["gain"],
            self.grads["gain"],
            self.grads["bias"],
            self._sums,
            self._of_rows,
        )
        return grad_output if input_gradient else None

    def lower(self) -> tuple[Op, ...]:
        """Return the normalisation by the running moments as operations."""
        return (
            Op("subtract", ("x", "running_mean"), "centred"),
            *_normalized("centred", "running_variance", self._epsilon),
        )

    def _move(self, rows: int) -> None:
        """Move the running moments towards those of a pass."""
        new = 1 - self._momentum
        for name, moment, factor in (
            ("running_mean", self._mean, new),
            ("running_variance", self._variance, new * rows / (rows - 1)),
        ):
            running = self.buffers[name]
            running *= self._momentum
            running += factor * moment


def _normalized(centred: str, variance: str, epsilon: float) -> tuple[Op, ...]:
    return (
        Op("offset", (variance,), "positive", {"by": epsilon}),
        Op("sqrt", ("positive",), "deviation"),
        Op("divide", (centred, "deviation"), "normalized"),
        Op("multiply", ("normalized", "gain"), "stretched"),
        Op("add", ("stretched", "bias"), "y"),
    )


def _make_layer_norm(place: Place, parameters: Mapping[str, Any], rule: DropoutRule) -> LayerNorm:
    del rule
    return LayerNorm(place.inputs, dtype=place.dtype, **parameters)


def _make_batch_norm(place: Place, parameters: Mapping[str, Any], rule: DropoutRule) -> BatchNorm:
    del rule
    return BatchNorm(place.inputs, dtype=place.dtype, **parameters)


_EPSILON: Final = Parameter(
    "epsilon", "added to the variance", "number", default=1e-5, minimum=0, exclusive_minimum=True, maximum=1
)
_MOMENTUM: Final = Parameter(
    "momentum", "what a step leaves of the running mean and variance", "number", default=0.9, minimum=0, maximum=1
)

LAYER_NORM: Final = LayerKind(
    name="layer_norm",
    computes="y = (x - mean) / sqrt(variance + epsilon) gain + bias, over the units of each row",
    parameters=(_EPSILON,),
    make=_make_layer_norm,
)
BATCH_NORM: Final = LayerKind(
    name="batch_norm",
    computes="y = (x - mean) / sqrt(variance + epsilon) gain + bias, over the rows of a mini-batch in training and by "
    "running moments otherwise",
    parameters=(_MOMENTUM, _EPSILON),
    make=_make_batch_norm,
)
