"""``Network``: layers in sequence over one parameter vector."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dropout_service.errors import FieldError, InvalidInputError
from dropout_service.nn.layers import LAYERS
from dropout_service.nn.layers.base import DropoutLayer
from dropout_service.nn.layers.concrete import ConcreteDropout
from dropout_service.nn.layers.dense import Dense
from dropout_service.nn.layers.kind import Place
from dropout_service.nn.layers.rules import NO_DROPOUT, LayerRule
from dropout_service.nn.mode import EVALUATION
from dropout_service.nn.parameter_vector import ArrayVector, ParameterVector

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import DTypeLike, NDArray

    from dropout_service.nn.layers.base import Layer
    from dropout_service.nn.layers.rules import DropoutRule
    from dropout_service.nn.mode import Mode

    Floats = NDArray[np.floating]

__all__ = ["Network", "buffer_shapes", "dropouts", "make_layers", "mlp_rules", "parameter_shapes"]


def parameter_shapes(layers: Sequence[Layer]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all parameters by name: ``layers.<number>.<name>``."""
    return {f"layers.{i}.{name}": shape for i, layer in enumerate(layers) for name, shape in layer.shapes.items()}


def buffer_shapes(layers: Sequence[Layer]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all buffers by name: ``layers.<number>.<name>``."""
    return {
        f"layers.{i}.{name}": shape for i, layer in enumerate(layers) for name, shape in layer.buffer_shapes.items()
    }


def dropouts(layers: Sequence[Layer]) -> tuple[DropoutLayer | None, ...]:
    """Return the dropout of the inputs, if there is one, and after it that of each layer but the last."""
    first, *_ = layers
    inputs = first.dropout if first.dropout is first else None
    hidden = layers[:-1] if inputs is None else layers[1:-1]
    return (inputs, *(layer.dropout for layer in hidden))


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
        self.parameters = ParameterVector(parameter_shapes(layers), dtype)
        self.buffers = ArrayVector(buffer_shapes(layers), dtype)
        params, grads = self.parameters.views(), self.parameters.views(self.parameters.grads)
        buffers = self.buffers.views()
        for i, layer in enumerate(self.layers):
            layer.bind(
                {name: params[f"layers.{i}.{name}"] for name in layer.shapes},
                {name: grads[f"layers.{i}.{name}"] for name in layer.shapes},
                {name: buffers[f"layers.{i}.{name}"] for name in layer.buffer_shapes},
            )
        # The first layer that does more than drop sees the data as they are; the output layer is no dropout.
        self._reader = next(layer for layer in self.layers if not isinstance(layer, DropoutLayer))
        # The first layer with parameters has nobody below it that wants a gradient.
        self._lowest = next((i for i, layer in enumerate(self.layers) if layer.shapes), 0)
        # What learns its rate, with the next layer that has weights for its units
        readers = ((layer, next(_dense(self.layers[i + 1 :]), None)) for i, layer in enumerate(self.layers))
        self._learners = [
            (layer.dropout, reader)
            for layer, reader in readers
            if isinstance(layer.dropout, ConcreteDropout) and reader is not None
        ]

    @property
    def dense_layers(self) -> tuple[Dense, ...]:
        """The dense layers, in order."""
        return tuple(_dense(self.layers))

    def initialize(self, initializer: str, *, seed: int) -> None:
        """Write the initial parameters and buffers.

        Parameters
        ----------
        initializer
            A name of ``INITIALIZERS``, or ``auto``: what suits each layer.
        seed
            The values are a pure function of it and of the layer's number.
        """
        for i, layer in enumerate(self.layers):
            layer.initialize(initializer, seed=seed, number=i)

    @property
    def codes(self) -> tuple[int, ...]:
        """Columns of the input that hold codes of categories, and so must come as they are in the data."""
        return self._reader.codes

    def find_fault(self, x: NDArray[np.floating]) -> tuple[int, int, str] | None:
        """Return row, column and what is wrong with the first value that the network cannot take.

        Parameters
        ----------
        x
            Finite numbers, shape (rows, inputs), float32 or float64.
        """
        return self._reader.find_fault(x)

    def fit(self, x: Floats, rows: NDArray[np.intp] | None = None) -> None:
        """Let a layer take what it has to know of all training rows, such as quantiles, into its buffers.

        Parameters
        ----------
        x
            Shape (rows, inputs); it is looked at a column at a time.
        rows
            Numbers of the training rows; ``None``: all.
        """
        self._reader.fit(lambda column: x[:, column] if rows is None else x[rows, column])

    def forward(
        self,
        x: Floats,
        mode: Mode = EVALUATION,
        *,
        differentiable: bool = False,
        begin: int = 0,
        end: int | None = None,
    ) -> Floats:
        """Return the outputs of ``x``.

        Parameters
        ----------
        x
            Shape (rows, inputs), of the network's dtype, C-contiguous; it must stay unchanged until ``backward``.
        mode
            What the pass is for.
        differentiable
            Keep what ``backward`` needs.
        begin, end
            The layers to go through, as in a slice: ``x`` is then the input of the first of them.

        Returns
        -------
        outputs
            Shape (rows, outputs), lent until the next pass.
        """
        for layer in self.layers[begin:end]:
            x = layer.forward(x, mode, differentiable=differentiable)
        return x

    def backward(self, grad_output: Floats, *, begin: int = 0, end: int | None = None) -> Floats | None:
        """Write the gradients of all parameters, given the loss's gradient by the outputs (which is overwritten).

        Of layers from ``begin`` to ``end`` alone, which are as for ``forward``: return the gradient by their input,
        where a layer below them has parameters.
        """
        grad: Floats | None = grad_output
        end = len(self.layers) if end is None else end
        for i in range(end - 1, max(begin, self._lowest) - 1, -1):
            if grad is not None:
                grad = self.layers[i].backward(grad, input_gradient=i > self._lowest)
        return grad

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

    def samples(self, x: Floats, modes: Iterable[Mode]) -> Iterator[Floats]:
        """Yield the outputs of ``x`` in each of ``modes``, which differ in their noise only, each lent until the next.

        What comes before the first dropout is the same in every sample and is computed once.
        """
        silent = next((i for i, layer in enumerate(self.layers) if layer.dropout is not None), len(self.layers) - 1)
        for layer in self.layers[:silent]:
            x = layer.forward(x, EVALUATION, differentiable=False)
        first, *rest = self.layers[silent:]
        if not isinstance(first, Dense) or not first.drops_last:
            for mode in modes:
                outputs = x
                for layer in (first, *rest):
                    outputs = layer.forward(outputs, mode, differentiable=False)
                yield outputs
            return
        shared = first.forward(x, EVALUATION, differentiable=False).copy()
        value = np.empty_like(shared)
        for mode in modes:
            np.copyto(value, shared)
            outputs = first.drop(value, mode)
            for layer in rest:
                outputs = layer.forward(outputs, mode, differentiable=False)
            yield outputs


def _dense(layers: Iterable[Layer]) -> Iterator[Dense]:
    return (layer for layer in layers if isinstance(layer, Dense))


def make_layers(
    inputs: int | Sequence[int], rules: Sequence[LayerRule], outputs: int, dtype: DTypeLike = np.float32
) -> tuple[Layer, ...]:
    """Make the layers that rules describe, and after them a linear one.

    Until a ``Network`` binds them, they take no memory.

    Parameters
    ----------
    inputs
        The columns of the data: how many, if all are numbers, or their cardinalities (see ``Place``).
    outputs
        Units of the last layer.
    rules
        The layers in between.
    dtype
        ``float32`` or ``float64``.

    Raises
    ------
    InvalidInputError
        What is not in the registry, or does not fit its place, with the pointers of the rules.
    """
    layers: list[Layer] = []
    cardinalities = () if isinstance(inputs, int) else tuple(inputs)
    width = inputs if isinstance(inputs, int) else len(cardinalities)
    for number, rule in enumerate(rules):
        try:
            first = all(isinstance(before, DropoutLayer) for before in layers)
            layer = _made(rule, Place(width, number, dtype, first, cardinalities))
        except InvalidInputError as error:
            faults = [FieldError(_pointer(fault.pointer, rule), fault.message) for fault in error.errors]
            raise InvalidInputError(error.message, errors=faults) from error
        layers.append(layer)
        width = layer.units
    layers.append(Dense(width, outputs, dtype=dtype))
    return tuple(layers)


def _made(rule: LayerRule, place: Place) -> Layer:
    kind = LAYERS.get(rule.kind)
    if kind is None:
        raise InvalidInputError.at("/kind", f"there is no layer `{rule.kind}`; there are {', '.join(LAYERS)}")
    if rule.dropout != NO_DROPOUT and not kind.drops:
        raise InvalidInputError.at("/dropout", f"a layer `{rule.kind}` has no dropout; add a layer `dropout` after it")
    return kind.make(place, kind.checked_parameters(rule.parameters), rule.dropout)


def _pointer(pointer: str, rule: LayerRule) -> str:
    """Return where a fault of a layer is, in what its rule was made from."""
    if pointer == "/dropout" or pointer.startswith("/dropout/"):
        return rule.dropout_pointer + pointer.removeprefix("/dropout")
    return rule.pointer + pointer


def mlp_rules(
    hidden: Sequence[int],
    *,
    activation: str = "relu",
    dropouts: Sequence[DropoutRule],
    input_dropout: DropoutRule | None = None,
    residual: bool = False,
) -> tuple[LayerRule, ...]:
    """Return the layers of a multi-layer perceptron: what ``hidden`` is a shorthand for.

    Parameters
    ----------
    hidden
        Numbers of units of the hidden layers.
    activation
        Of the hidden layers, a name of ``ACTIVATIONS``.
    dropouts
        Dropout of each hidden layer; faults are told at ``/dropout/<number>``.
    input_dropout
        Dropout of the inputs; ``/input_dropout``.
    residual
        Whether hidden layers after the first, which are then all of one width, have a connection around them.
    """
    rules = [
        LayerRule(
            "dense",
            {"units": units, "activation": activation, "residual": residual and i > 0},
            dropout,
            pointer="",
            dropout_pointer=f"/dropout/{i}",
        )
        for i, (units, dropout) in enumerate(zip(hidden, dropouts, strict=True))
    ]
    if input_dropout is not None:
        rules.insert(0, LayerRule("dropout", {}, input_dropout, dropout_pointer="/input_dropout"))
    return tuple(rules)
