"""``Network``: layers in sequence over one parameter vector."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from dropout_service.errors import InvalidInputError
from dropout_service.nn.concrete import ConcreteDropout
from dropout_service.nn.dropouts import Dropout, DropoutRule, VariantDropout, WeightDropout
from dropout_service.nn.initializers import INITIALIZERS, default_initializer
from dropout_service.nn.layers import Dense, Residual
from dropout_service.nn.parameters import Parameters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import DTypeLike, NDArray

    from dropout_service.nn.layer import Layer, Masks

    Floats = NDArray[np.floating]

__all__ = ["BRANCHES", "AnyDropout", "Network", "dropouts", "mlp_layers", "parameter_shapes"]

AnyDropout = Dropout | VariantDropout


def parameter_shapes(layers: Sequence[Layer]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all parameters by name: ``layers.<number>.<name>``."""
    return {f"layers.{i}.{name}": shape for i, layer in enumerate(layers) for name, shape in layer.shapes.items()}


def dropouts(layers: Sequence[Layer]) -> tuple[AnyDropout | None, ...]:
    """Return the dropout of the inputs, if there is one, and after it that of each hidden layer of a perceptron."""
    hidden = (_dropout_of(layer) for layer in layers[:-1] if isinstance(layer, Dense))
    return (None if isinstance(layers[0], Dense) else _dropout_of(layers[0]), *hidden)


class Network:
    """Layers in sequence.

    Parameters
    ----------
    layers
        In the order of the forward pass; their parameters are named as in ``parameter_shapes``.
    dtype
        ``float32``, or ``float64`` for gradient checks; the layers must have the same.
    """

    def __init__(self, layers: Sequence[Layer], dtype: DTypeLike = np.float32) -> None:
        self.layers = tuple(layers)
        self.parameters = Parameters(parameter_shapes(layers), dtype)
        params = self.parameters.views()
        grads = self.parameters.views(self.parameters.grads)
        for i, layer in enumerate(self.layers):
            layer.bind(
                {name: params[f"layers.{i}.{name}"] for name in layer.shapes},
                {name: grads[f"layers.{i}.{name}"] for name in layer.shapes},
            )
        # The first layer with parameters has nobody below it that wants a gradient.
        self._lowest = next((i for i, layer in enumerate(self.layers) if layer.shapes), 0)
        # What learns its rate, with the layer that reads its units
        self._learners = [
            (dropout, reader)
            for layer, reader in pairwise(self.layers)
            if isinstance(dropout := _dropout_of(layer), ConcreteDropout) and isinstance(reader, Dense)
        ]

    @property
    def dense_layers(self) -> tuple[Dense, ...]:
        """The dense layers, in order."""
        return tuple(layer for layer in self.layers if isinstance(layer, Dense))

    def initialize(self, initializer: str, *, seed: int) -> None:
        """Draw the initial weights; biases are 0, and learned rates what their rules say.

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
            dropout = _dropout_of(layer)
            if isinstance(dropout, ConcreteDropout):
                dropout.initialize()

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

    def regularize(self, rows: int) -> float:
        """Add the gradients of the penalties that learned rates need, see ``ConcreteDropout``; return their sum.

        Parameters
        ----------
        rows
            Rows of the training part.
        """
        if not self._learners:
            return 0.0
        return sum(dropout.regularize(reader.weight, reader.weight_grad, rows) for dropout, reader in self._learners)

    def samples(self, x: Floats, masks: Iterable[Masks]) -> Iterator[Floats]:
        """Yield the outputs of ``x`` under each of ``masks``, each lent until the next.

        What comes before the first dropout is the same in every sample and is computed once.
        """
        first = self.layers[0]
        if not isinstance(first, Dense) or not first.drops_last:
            for draw in masks:
                yield self.forward(x, draw)
            return
        shared = first.forward(x, None, differentiable=False).copy()
        value = np.empty_like(shared)
        for draw in masks:
            np.copyto(value, shared)
            outputs = first.drop(value, draw)
            for layer in self.layers[1:]:
                outputs = layer.forward(outputs, draw, differentiable=False)
            yield outputs


def _dropout_of(layer: Layer) -> AnyDropout | None:
    if isinstance(layer, Dense):
        return layer.dropout
    return layer if isinstance(layer, Dropout | VariantDropout) else None


_LAYERS: dict[str, Callable[..., VariantDropout]] = {"dropconnect": WeightDropout, "concrete": ConcreteDropout}
"""Variants that need more of their layer than the table says."""
_WEIGHTS = {"dropconnect"}
BRANCHES = {"drop_path"}
"""Variants of what residual connections lead past."""


def mlp_layers(
    inputs: int,
    hidden: Sequence[int],
    outputs: int,
    *,
    activation: str = "relu",
    dropouts: Sequence[DropoutRule],
    input_dropout: DropoutRule | None = None,
    residual: bool = False,
    dtype: DTypeLike = np.float32,
) -> tuple[Layer, ...]:
    """Make the layers of a multi-layer perceptron: ``hidden`` dense ones with activation and dropout, a linear one.

    Until a ``Network`` binds them, they take no memory.

    Parameters
    ----------
    inputs, hidden, outputs
        Numbers of units.
    activation
        Of the hidden layers, a name of ``ACTIVATIONS``.
    dropouts
        Dropout after each hidden layer.
    input_dropout
        Dropout of the inputs.
    residual
        Whether hidden layers after the first, which are then all of one width, have a connection around them.
    dtype
        ``float32`` or ``float64``.

    Raises
    ------
    InvalidInputError
        A rule that does not fit its variant or its layer: ``/dropout/<number>``, ``/input_dropout``.
    """
    layers: list[Layer] = []
    if input_dropout is not None:
        if input_dropout.variant in {*_WEIGHTS, *BRANCHES}:
            raise InvalidInputError.at("/input_dropout", f"`{input_dropout.variant}` has nothing to drop at the inputs")
        layers.append(_dropout(input_dropout, inputs, layer=0, dtype=dtype, pointer="/input_dropout"))
    width = inputs
    for i, (units, rule) in enumerate(zip(hidden, dropouts, strict=True)):
        dropout = _dropout(rule, units, layer=len(layers), dtype=dtype, pointer=f"/dropout/{i}")
        if rule.variant in BRANCHES and not (residual and i > 0):
            message = (
                f"`{rule.variant}` drops what a residual connection leads past; "
                "with `residual` true, hidden layers after the first have one"
            )
            raise InvalidInputError.at(f"/dropout/{i}", message)
        if residual and i > 0:
            layers.append(Residual(units, activation=activation, dropout=dropout, dtype=dtype))
        else:
            layers.append(Dense(width, units, activation=activation, dropout=dropout, dtype=dtype))
        width = units
    layers.append(Dense(width, outputs, dtype=dtype))
    return tuple(layers)


def _dropout(rule: DropoutRule, units: int, *, layer: int, dtype: DTypeLike, pointer: str) -> AnyDropout:
    if rule.shape is not None and math.prod(rule.shape) != units:
        message = f"{list(rule.shape)} holds {math.prod(rule.shape)} units, not {units}"
        raise InvalidInputError.at(f"{pointer}/shape", message)
    if rule.variant == "standard":
        return Dropout(units, rule.rate, layer=layer, dtype=dtype)
    try:
        return _LAYERS.get(rule.variant, VariantDropout)(units, rule, layer=layer, dtype=dtype)
    except InvalidInputError as error:
        raise error.within(pointer) from error
