"""An activation as a layer of its own, as behind a normalisation; the row ``activation`` of the registry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dropout_service.kernels.variants.parameters import Parameter
from dropout_service.nn.activations import ACTIVATIONS
from dropout_service.nn.layers.base import Layer, Rows
from dropout_service.nn.layers.kind import LayerKind
from dropout_service.nn.ops import Op

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import DTypeLike, NDArray

    from dropout_service.nn.layers.kind import Place
    from dropout_service.nn.layers.rules import DropoutRule
    from dropout_service.nn.mode import Mode

    Floats = NDArray[np.floating]

__all__ = ["ACTIVATION", "ActivationLayer"]


class ActivationLayer(Layer):
    """y = activation(x), or y = x + strength (activation(x) - x) with a strength that each unit learns.

    With ReLU the latter is PReLU of slope 1 - strength (He et al. 2015). The strength is 1 at first, as in Holzmueller,
    Grinsztajn and Steinwart (2024), "Better by default".

    Parameters
    ----------
    units
        Columns of the input.
    activation
        A name of ``ACTIVATIONS``.
    parametric
        Whether the strength is learned.
    dtype
        ``float32`` or ``float64``.
    """

    def __init__(self, units: int, *, activation: str, parametric: bool = False, dtype: DTypeLike = np.float32) -> None:
        self.units = units
        self.shapes = {"strength": (units,)} if parametric else {}
        self.description = {
            "kind": "activation",
            "inputs": units,
            "activation": activation,
            "parametric": parametric,
        }
        self._name = activation
        self._parametric = parametric
        self._act = ACTIVATIONS[activation]
        self._output, self._derivative, self._change = (Rows(units, dtype) for _ in range(3))

    def initialize(self, initializer: str, *, seed: int, number: int) -> None:
        """Begin with the activation itself."""
        del initializer, seed, number
        if self._parametric:
            self.params["strength"][:] = 1

    def forward(self, x: Floats, mode: Mode, *, differentiable: bool) -> Floats:
        """Return the activation of ``x``, shape (rows, units)."""
        del mode
        rows = len(x)
        output = self._output.first(rows)
        np.copyto(output, x)
        self._act.apply(output, self._derivative.first(rows) if differentiable else None)
        if not self._parametric:
            return output
        change = np.subtract(output, x, out=self._change.first(rows))
        np.multiply(change, self.params["strength"], out=output)
        output += x
        return output

    def backward(self, grad_output: Floats, *, input_gradient: bool) -> Floats | None:
        """Write the gradient of the strength; the last ``forward`` must have been ``differentiable``."""
        derivative = self._derivative.first(len(grad_output))
        if self._parametric:
            np.einsum("ij,ij->j", grad_output, self._change.first(len(grad_output)), out=self.grads["strength"])
            derivative -= 1
            derivative *= self.params["strength"]
            derivative += 1
        return np.multiply(grad_output, derivative, out=grad_output) if input_gradient else None

    def lower(self) -> tuple[Op, ...]:
        """Return the activation, and with a strength its mixture with ``x``, as operations."""
        if not self._parametric:
            return (Op(self._name, ("x",), "y"),)
        return (
            Op(self._name, ("x",), "activated"),
            Op("subtract", ("activated", "x"), "change"),
            Op("multiply", ("change", "strength"), "scaled"),
            Op("add", ("x", "scaled"), "y"),
        )


def _make(place: Place, parameters: Mapping[str, Any], rule: DropoutRule) -> ActivationLayer:
    del rule
    return ActivationLayer(place.inputs, dtype=place.dtype, **parameters)


ACTIVATION: Final = LayerKind(
    name="activation",
    computes="y = activation(x), with `parametric` y = x + strength (activation(x) - x)",
    parameters=(
        Parameter("activation", "which one", "text", default="relu", choices=tuple(ACTIVATIONS)),
        Parameter("parametric", "learn for each unit how much of it", "boolean", default=False),
    ),
    make=_make,
)
