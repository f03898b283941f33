"""The layers: dense with activation and dropout, and dropout of the inputs.

A layer owns its buffers, so that a training step allocates nothing. What ``forward`` and ``backward`` return is lent:
it holds until the next call of the same layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from dropout_service.kernels import dense, dropout
from dropout_service.kernels.philox import GROUP_ELEMENTS, GROUP_LANES
from dropout_service.kernels.streams import Purpose, stream
from dropout_service.nn.activations import ACTIVATIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import DTypeLike, NDArray

    Floats = NDArray[np.floating]

__all__ = ["Dense", "Dropout", "Layer", "Masks"]


@dataclass(frozen=True, slots=True)
class Masks:
    """Where the dropout masks of one pass come from: a pure function of these fields and the layer's number.

    Parameters
    ----------
    seed
        Seed of the training or of the prediction.
    step
        Global step of a training, or number of a Monte-Carlo sample.
    purpose
        Which family of streams.
    first_row
        Place of the pass's first row in the whole array, a multiple of 64: row r gets the same mask however the
        rows are cut into passes.
    """

    seed: int
    step: int
    purpose: Purpose = Purpose.DROPOUT
    first_row: int = 0


class Layer(Protocol):
    """What a network is made of."""

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Shapes of the parameters by name."""
        ...

    @property
    def description(self) -> dict[str, int | float | str | None]:
        """What kind of layer it is, as JSON values."""
        ...

    def bind(self, params: Mapping[str, Floats], grads: Mapping[str, Floats]) -> None:
        """Take the arrays that hold the parameters and receive their gradients."""
        ...

    def forward(self, x: Floats, masks: Masks | None, *, differentiable: bool) -> Floats:
        """Return the layer's output of ``x`` (rows, inputs); ``masks=None`` leaves dropout out."""
        ...

    def backward(self, grad_output: Floats, *, input_gradient: bool) -> Floats | None:
        """Write the parameters' gradients; return the gradient by the input of the last ``forward`` if asked."""
        ...


class _Rows:
    """A buffer of rows that grows and is lent out as its first rows, contiguous for every count."""

    def __init__(self, units: int, dtype: DTypeLike) -> None:
        self._array: NDArray[np.floating] = np.empty((0, units), dtype)

    def first(self, rows: int) -> Floats:
        if rows > self._array.shape[0]:
            self._array = np.empty((rows, self._array.shape[1]), self._array.dtype)
        return self._array[:rows]


class _MaskDraws:
    """The draws of one dropout layer's mask stream, and the numbers of its rate."""

    def __init__(self, rate: float, layer: int, units: int) -> None:
        self.layer = layer
        self.units = units
        self.threshold = dropout.threshold(rate)
        self.scale = dropout.scale(rate, "inverted", training=True)
        self._lanes: NDArray[np.uint64] = np.empty(0, np.uint64)

    def draw(self, rows: int, masks: Masks) -> NDArray[np.uint16]:
        """Return the draws of ``rows`` rows of units, lent until the next."""
        first_group, rest = divmod(masks.first_row * self.units, GROUP_ELEMENTS)
        if rest:
            raise ValueError(f"first_row must be a multiple of {GROUP_ELEMENTS}, not {masks.first_row}")
        size = -(-rows * self.units // GROUP_ELEMENTS) * GROUP_LANES
        if size > self._lanes.size:
            self._lanes = np.empty(size, np.uint64)
        lanes = self._lanes[:size]
        offset = stream(masks.purpose, layer=self.layer, step=masks.step)
        dense.draw(lanes, first_group, np.uint64(offset), np.uint64(masks.seed))
        return lanes.view(np.uint16)


class Dropout:
    """Inverted dropout (Srivastava et al. 2014): y = x mask / keep_prob, the identity without masks.

    Parameters
    ----------
    units
        Columns of the input.
    rate
        Probability of dropping an element.
    layer
        Number of the layer: addresses its mask stream.
    dtype
        ``float32`` or ``float64``.
    """

    shapes: Mapping[str, tuple[int, ...]] = {}

    def __init__(self, units: int, rate: float, *, layer: int, dtype: DTypeLike = np.float32) -> None:
        self.rate = rate
        self.description: dict[str, int | float | str | None] = {"kind": "dropout", "units": units, "dropout": rate}
        self._draws = _MaskDraws(rate, layer, units)
        self._output = _Rows(units, dtype)
        self._drawn: NDArray[np.uint16] | None = None

    def bind(self, params: Mapping[str, Floats], grads: Mapping[str, Floats]) -> None:
        """Do nothing: there are no parameters."""

    def forward(self, x: Floats, masks: Masks | None, *, differentiable: bool) -> Floats:
        """Return ``x`` with elements dropped, shape (rows, units)."""
        del differentiable
        self._drawn = None
        if masks is None or self.rate == 0:
            return x
        self._drawn = self._draws.draw(x.shape[0], masks)
        output = self._output.first(x.shape[0])
        dense.drop(x, self._drawn, self._draws.threshold, self._draws.scale, output)
        return output

    def backward(self, grad_output: Floats, *, input_gradient: bool) -> Floats | None:
        """Return ``grad_output`` with the same elements dropped, in place."""
        if input_gradient and self._drawn is not None:
            dense.drop(grad_output, self._drawn, self._draws.threshold, self._draws.scale, grad_output)
        return grad_output if input_gradient else None


class Dense:
    """y = dropout(activation(x weight + bias)).

    Parameters
    ----------
    inputs, units
        Shape of the weight: (inputs, units); a unit is a column.
    activation
        A name of ``ACTIVATIONS``; ``None``: linear.
    rate
        Dropout rate after the activation.
    layer
        Number of the layer: addresses its mask stream.
    dtype
        ``float32`` or ``float64``.
    """

    def __init__(
        self,
        inputs: int,
        units: int,
        *,
        activation: str | None = None,
        rate: float = 0.0,
        layer: int = 0,
        dtype: DTypeLike = np.float32,
    ) -> None:
        self.shapes: Mapping[str, tuple[int, ...]] = {"weight": (inputs, units), "bias": (units,)}
        self.description: dict[str, int | float | str | None] = {
            "kind": "dense",
            "inputs": inputs,
            "units": units,
            "activation": activation,
            "dropout": rate,
        }
        self.activation = activation
        self.rate = rate
        self.weight = self.weight_grad = np.zeros((inputs, units), dtype)
        self.bias = self.bias_grad = np.zeros(units, dtype)
        self._act = None if activation is None else ACTIVATIONS[activation]
        self._draws = _MaskDraws(rate, layer, units)
        self._output = _Rows(units, dtype)
        self._derivative = _Rows(units, dtype)
        self._grad_input = _Rows(inputs, dtype)
        self._x = np.empty((0, inputs), dtype)

    def bind(self, params: Mapping[str, Floats], grads: Mapping[str, Floats]) -> None:
        """Take ``weight`` and ``bias`` from ``params``, and where their gradients go from ``grads``."""
        self.weight, self.bias = params["weight"], params["bias"]
        self.weight_grad, self.bias_grad = grads["weight"], grads["bias"]

    def forward(self, x: Floats, masks: Masks | None, *, differentiable: bool) -> Floats:
        """Return the layer's output, shape (rows, units)."""
        self._x = x
        rows = x.shape[0]
        output = self._output.first(rows)
        np.matmul(x, self.weight, out=output)
        derivative = self._derivative.first(rows) if differentiable else None
        if self.rate == 0:
            masks = None
        if masks and derivative is not None and self._act is not None and self._act.fused is not None:
            draws = self._draws.draw(rows, masks)
            self._act.fused(output, self.bias, draws, self._draws.threshold, self._draws.scale, derivative)
            return output
        output += self.bias
        if self._act is not None:
            self._act.apply(output, derivative)
        if masks:
            self.drop(output, masks, derivative)
        return output

    def drop(self, value: Floats, masks: Masks, derivative: Floats | None = None) -> None:
        """Apply the layer's dropout to ``value`` (rows, units), and to its derivative, in place."""
        draws = self._draws.draw(value.shape[0], masks)
        if derivative is None:
            dense.drop(value, draws, self._draws.threshold, self._draws.scale, value)
        else:
            dense.drop_with_derivative(value, derivative, draws, self._draws.threshold, self._draws.scale)

    def backward(self, grad_output: Floats, *, input_gradient: bool) -> Floats | None:
        """Write the gradients of weight and bias; ``grad_output`` is overwritten.

        The last ``forward`` must have been ``differentiable``.
        """
        rows = grad_output.shape[0]
        if self._act is None:
            np.add.reduce(grad_output, axis=0, out=self.bias_grad)
        else:
            dense.dense_backward(grad_output, self._derivative.first(rows), self.bias_grad)
        np.matmul(self._x.T, grad_output, out=self.weight_grad)
        if not input_gradient:
            return None
        grad_input = self._grad_input.first(rows)
        np.matmul(grad_output, self.weight.T, out=grad_input)
        return grad_input
