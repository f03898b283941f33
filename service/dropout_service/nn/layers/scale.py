"""A learned scale of each input; the row ``scale`` of the registry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

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

__all__ = ["SCALE", "Scale"]


class Scale(Layer):
    """y = x scale, a diagonal weight that is 1 at first: a soft choice of inputs.

    Holzmueller, Grinsztajn and Steinwart (2024), "Better by default: strong pre-tuned MLPs and boosted trees on tabular
    data". A vector, it feels no weight decay.

    Parameters
    ----------
    units
        Columns of the input.
    dtype
        ``float32`` or ``float64``.
    """

    def __init__(self, units: int, *, dtype: DTypeLike = np.float32) -> None:
        self.units = units
        self.shapes = {"scale": (units,)}
        self.description = {"kind": "scale", "inputs": units}
        self._output = Rows(units, dtype)
        self._x = np.empty((0, units), dtype)

    def initialize(self, initializer: str, *, seed: int, number: int) -> None:
        """Begin with the identity."""
        del initializer, seed, number
        self.params["scale"][:] = 1

    def forward(self, x: Floats, mode: Mode, *, differentiable: bool) -> Floats:
        """Return ``x`` times the scale, shape (rows, units)."""
        del mode, differentiable
        self._x = x
        return np.multiply(x, self.params["scale"], out=self._output.first(len(x)))

    def backward(self, grad_output: Floats, *, input_gradient: bool) -> Floats | None:
        """Write the gradient of the scale; ``grad_output`` is overwritten."""
        np.einsum("ij,ij->j", grad_output, self._x, out=self.grads["scale"])
        return np.multiply(grad_output, self.params["scale"], out=grad_output) if input_gradient else None

    def lower(self) -> tuple[Op, ...]:
        """Return the product as an operation."""
        return (Op("multiply", ("x", "scale"), "y"),)


def _make(place: Place, parameters: Mapping[str, Any], rule: DropoutRule) -> Scale:
    del parameters, rule
    return Scale(place.inputs, dtype=place.dtype)


SCALE: Final = LayerKind(name="scale", computes="y = x scale, a learned factor of each input", make=_make)
