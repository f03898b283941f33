"""``Network``: layers in sequence over one parameter vector."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dropout_service.nn.initializers import INITIALIZERS, default_initializer
from dropout_service.nn.layers import Dense, Dropout
from dropout_service.nn.parameters import Parameters

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import DTypeLike, NDArray

    from dropout_service.nn.layers import Layer, Masks

    Floats = NDArray[np.floating]

__all__ = ["Network", "mlp"]


class Network:
    """Layers in sequence.

    Parameters
    ----------
    layers
        In the order of the forward pass; their parameters are named ``layers.<number>.<name>``.
    dtype
        ``float32``, or ``float64`` for gradient checks; the layers must have the same.
    """

    def __init__(self, layers: Sequence[Layer], dtype: DTypeLike = np.float32) -> None:
        self.layers = tuple(layers)
        self.parameters = Parameters(
            {
                f"layers.{i}.{name}": shape
                for i, layer in enumerate(self.layers)
                for name, shape in layer.shapes.items()
            },
            dtype,
        )
        params = self.parameters.views()
        grads = self.parameters.views(self.parameters.grads)
        for i, layer in enumerate(self.layers):
            layer.bind(
                {name: params[f"layers.{i}.{name}"] for name in layer.shapes},
                {name: grads[f"layers.{i}.{name}"] for name in layer.shapes},
            )
        # The first layer with parameters has nobody below it that wants a gradient.
        self._lowest = next((i for i, layer in enumerate(self.layers) if layer.shapes), 0)

    @property
    def dense_layers(self) -> tuple[Dense, ...]:
        """The dense layers, in order."""
        return tuple(layer for layer in self.layers if isinstance(layer, Dense))

    def initialize(self, initializer: str, *, seed: int) -> None:
        """Draw the initial weights; biases are 0.

        Parameters
        ----------
        initializer
            A name of ``INITIALIZERS``, or ``auto``: what suits each layer's activation.
        seed
            The weights are a pure function of it and of the layer's number.
        """
        for i, layer in enumerate(self.layers):
            if isinstance(layer, Dense):
                name = default_initializer(layer.activation) if initializer == "auto" else initializer
                layer.weight[:] = INITIALIZERS[name](*layer.weight.shape, seed=seed, layer=i, dtype=layer.weight.dtype)
                layer.bias[:] = 0

    def forward(self, x: Floats, masks: Masks | None = None, *, differentiable: bool = False) -> Floats:
        """Return the outputs of ``x``.

        Parameters
        ----------
        x
            Shape (rows, inputs), of the network's dtype, C-contiguous; it must stay unchanged until ``backward``.
        masks
            Source of the dropout masks; ``None``: evaluation, nothing is dropped.
        differentiable
            Keep what ``backward`` needs.

        Returns
        -------
        outputs
            Shape (rows, outputs), lent until the next pass.
        """
        for layer in self.layers:
            x = layer.forward(x, masks, differentiable=differentiable)
        return x

    def backward(self, grad_output: Floats) -> None:
        """Write the gradients of all parameters, given the loss's gradient by the outputs (which is overwritten)."""
        grad: Floats | None = grad_output
        for i in range(len(self.layers) - 1, self._lowest - 1, -1):
            if grad is not None:
                grad = self.layers[i].backward(grad, input_gradient=i > self._lowest)

    def samples(self, x: Floats, masks: Iterable[Masks]) -> Iterator[Floats]:
        """Yield the outputs of ``x`` under each of ``masks``, each lent until the next.

        What comes before the first dropout is the same in every sample and is computed once.
        """
        first = self.layers[0]
        if not isinstance(first, Dense):
            for draw in masks:
                yield self.forward(x, draw)
            return
        shared = first.forward(x, None, differentiable=False).copy()
        value = np.empty_like(shared)
        for draw in masks:
            np.copyto(value, shared)
            if first.rate > 0:
                first.drop(value, draw)
            outputs: Floats = value
            for layer in self.layers[1:]:
                outputs = layer.forward(outputs, draw, differentiable=False)
            yield outputs


def mlp(
    inputs: int,
    hidden: Sequence[int],
    outputs: int,
    *,
    activation: str = "relu",
    rates: Sequence[float],
    input_rate: float = 0.0,
    dtype: DTypeLike = np.float32,
) -> Network:
    """Build a multi-layer perceptron: ``hidden`` dense layers with activation and dropout, then a linear one.

    Parameters
    ----------
    inputs, hidden, outputs
        Numbers of units.
    activation
        Of the hidden layers, a name of ``ACTIVATIONS``.
    rates
        Dropout rate after each hidden layer.
    input_rate
        Dropout rate of the inputs; 0 adds no layer.
    dtype
        ``float32`` or ``float64``.
    """
    layers: list[Layer] = []
    if input_rate > 0:
        layers.append(Dropout(inputs, input_rate, layer=0, dtype=dtype))
    width = inputs
    for units, rate in zip(hidden, rates, strict=True):
        layers.append(Dense(width, units, activation=activation, rate=rate, layer=len(layers), dtype=dtype))
        width = units
    layers.append(Dense(width, outputs, layer=len(layers), dtype=dtype))
    return Network(layers, dtype)
