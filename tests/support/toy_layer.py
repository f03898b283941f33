"""A layer of no registry: what adding one takes. It has a parameter and a buffer, as batch normalisation has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dropout_service.errors import InvalidInputError
from dropout_service.kernels.variants.parameters import Parameter
from dropout_service.nn.layers.base import Layer, Rows
from dropout_service.nn.layers.kind import LayerKind
from dropout_service.nn.ops import Op

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dropout_service.nn.layers.kind import Place
    from dropout_service.nn.layers.rules import DropoutRule
    from dropout_service.nn.mode import Mode

    Floats = np.ndarray[Any, np.dtype[np.floating]]

__all__ = ["CENTRE", "Centre"]


class Centre(Layer):
    """y = (x - mean) gain: the mean of the rows in training, a running one otherwise."""

    def __init__(self, place: Place, momentum: float) -> None:
        self.units = units = place.inputs
        self.shapes = {"gain": (units,)}
        self.buffer_shapes = {"running_mean": (units,)}
        self.description = {"kind": "centre", "inputs": units, "momentum": momentum}
        self._momentum = momentum
        self._centred, self._output = (Rows(units, place.dtype) for _ in range(2))
        self._trained = False

    def initialize(self, initializer: str, *, seed: int, number: int) -> None:
        del initializer, seed, number
        self.params["gain"][:] = 1

    def forward(self, x: Floats, mode: Mode, *, differentiable: bool) -> Floats:
        del differentiable  # it keeps what backward needs in any case
        mean = running = self.buffers["running_mean"]
        self._trained = mode.kind == "training"
        if self._trained:
            mean = x.mean(axis=0)
            running *= self._momentum
            running += (1 - self._momentum) * mean
        centred = np.subtract(x, mean, out=self._centred.first(len(x)))
        return np.multiply(centred, self.params["gain"], out=self._output.first(len(x)))

    def backward(self, grad_output: Floats, *, input_gradient: bool) -> Floats | None:
        np.einsum("ij,ij->j", grad_output, self._centred.first(len(grad_output)), out=self.grads["gain"])
        if not input_gradient:
            return None
        grad_output *= self.params["gain"]
        if self._trained:
            grad_output -= grad_output.mean(axis=0)
        return grad_output

    def lower(self) -> tuple[Op, ...]:
        return (Op("subtract", ("x", "running_mean"), "centred"), Op("multiply", ("centred", "gain"), "y"))


def _make(place: Place, parameters: Mapping[str, Any], rule: DropoutRule) -> Centre:
    del rule
    if place.number == 0:
        raise InvalidInputError.at("", "the inputs are centred as it is")
    return Centre(place, parameters["momentum"])


CENTRE = LayerKind(
    name="centre",
    computes="y = (x - mean) gain",
    parameters=(Parameter("momentum", "of the running mean", "number", default=0.9, minimum=0, maximum=1),),
    make=_make,
)
