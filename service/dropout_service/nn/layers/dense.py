"""The dense layer, alone and as a residual block; the row ``dense`` of the registry."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dropout_service.errors import InvalidInputError
from dropout_service.kernels.training import activations as compiled
from dropout_service.kernels.training import dense
from dropout_service.kernels.training.table import Field, Kind, Row
from dropout_service.kernels.variants.parameters import Parameter
from dropout_service.nn.activations import ACTIVATIONS
from dropout_service.nn.initializers import INITIALIZERS, default_initializer
from dropout_service.nn.layers.base import NOTHING, DropoutLayer, Layer, Rows
from dropout_service.nn.layers.dropout import Dropout, WeightDropout
from dropout_service.nn.layers.kind import LayerKind
from dropout_service.nn.layers.placement import BRANCHES, make_dropout
from dropout_service.nn.ops import Op

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import DTypeLike, NDArray

    from dropout_service.nn.layers.kind import Place
    from dropout_service.nn.layers.rules import DropoutRule
    from dropout_service.nn.mode import Mode

    Floats = NDArray[np.floating]

__all__ = ["DENSE", "LINEAR", "Dense", "Residual"]

LINEAR: Final = "linear"
"""What a specification calls no activation."""


class Dense(Layer):
    """y = dropout(activation(x weight + bias)).

    Parameters
    ----------
    inputs, units
        Shape of the weight: (inputs, units); a unit is a column.
    activation
        A name of ``ACTIVATIONS``; ``None``: linear.
    dropout
        Dropout of ``units`` units after the activation; a ``WeightDropout`` is that of the weight instead, drawn once
        for all rows of a pass.
    dtype
        ``float32`` or ``float64``.
    """

    def __init__(
        self,
        inputs: int,
        units: int,
        *,
        activation: str | None = None,
        dropout: DropoutLayer | None = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        self.units = units
        self._dropout = dropout
        self._standard = dropout if isinstance(dropout, Dropout) else None
        self._connect = dropout if isinstance(dropout, WeightDropout) else None
        self._variant = None if isinstance(dropout, Dropout | WeightDropout) else dropout
        self.shapes = {
            "weight": (inputs, units),
            "bias": (units,),
            **({} if dropout is None else dropout.shapes),
        }
        self.description = {
            "kind": "dense",
            "inputs": inputs,
            "units": units,
            "activation": activation,
            **({"dropout": 0.0} if dropout is None else dropout.rule.description()),
        }
        self.activation = activation
        # Until `bind`, arrays of the right shape that take no memory
        self.weight = self.weight_grad = self._weight_used = np.broadcast_to(np.zeros((), dtype), (inputs, units))
        self.bias = self.bias_grad = np.broadcast_to(np.zeros((), dtype), (units,))
        self._act = None if activation is None else ACTIVATIONS[activation]
        self._output = Rows(units, dtype)
        self._derivative = Rows(units, dtype)
        self._has_derivative = False
        self._grad_input = Rows(inputs, dtype)
        self._x = np.empty((0, inputs), dtype)

    @property
    def dropout(self) -> DropoutLayer | None:
        """The dropout of its units or of its weight."""
        return self._dropout

    def bind(
        self, params: Mapping[str, Floats], grads: Mapping[str, Floats], buffers: Mapping[str, Floats] = NOTHING
    ) -> None:
        """Take ``weight`` and ``bias`` from ``params``, and where their gradients go from ``grads``."""
        self.weight, self.bias = params["weight"], params["bias"]
        self.weight_grad, self.bias_grad = grads["weight"], grads["bias"]
        if self._dropout is not None:
            self._dropout.bind(params, grads, buffers)

    def initialize(self, initializer: str, *, seed: int, number: int) -> None:
        """Draw the initial weights; biases are 0, and a learned rate what its rule says."""
        name = default_initializer(self.activation) if initializer == "auto" else initializer
        self.weight[:] = INITIALIZERS[name](*self.weight.shape, seed=seed, layer=number, dtype=self.weight.dtype)
        self.bias[:] = 0
        if self._dropout is not None:
            self._dropout.initialize(initializer, seed=seed, number=number)

    @property
    def drops_last(self) -> bool:
        """Whether all that is random in this layer is what ``drop`` does to the output of an evaluation."""
        return self._connect is None

    def forward(self, x: Floats, mode: Mode, *, differentiable: bool) -> Floats:
        """Return the layer's output, shape (rows, units)."""
        self._x = x
        rows = x.shape[0]
        output = self._output.first(rows)
        weight = self.weight
        if self._connect is not None:
            weight = self._connect.forward(weight, mode, differentiable=differentiable)
        self._weight_used = weight
        np.matmul(x, weight, out=output)
        derivative = self._derivative.first(rows) if differentiable else None
        standard = self._standard if mode.noisy and self._standard and self._standard.rate > 0 else None
        self._has_derivative = self._act is not None or standard is not None
        if standard and derivative is not None and self._act is not None and self._act.fused is not None:
            draws = standard.draw(rows, mode)
            self._act.fused(output, self.bias, draws, standard.threshold, standard.scale, derivative)
            return output
        output += self.bias
        if self._act is not None:
            self._act.apply(output, derivative)
        elif standard and derivative is not None:
            derivative.fill(1)
        if standard:
            standard.drop(output, mode, derivative)
        elif self._variant is not None:
            return self._variant.forward(output, mode, differentiable=differentiable)
        return output

    def drop(self, value: Floats, mode: Mode) -> Floats:
        """Apply the layer's dropout to ``value`` (rows, units), which may be overwritten."""
        if self._variant is not None:
            return self._variant.forward(value, mode, differentiable=False)
        if self._standard is not None and self._standard.rate > 0:
            self._standard.drop(value, mode)
        return value

    def backward(self, grad_output: Floats, *, input_gradient: bool) -> Floats | None:
        """Write the gradients of weight and bias; ``grad_output`` is overwritten.

        The last ``forward`` must have been ``differentiable``.
        """
        rows = grad_output.shape[0]
        if self._variant is not None:
            self._variant.backward(grad_output, input_gradient=True)
        if self._has_derivative:
            dense.dense_backward(grad_output, self._derivative.first(rows), self.bias_grad)
        else:
            np.add.reduce(grad_output, axis=0, out=self.bias_grad)
        np.matmul(self._x.T, grad_output, out=self.weight_grad)
        if self._connect is not None:
            self._connect.backward(self.weight_grad, input_gradient=True)
        if not input_gradient:
            return None
        grad_input = self._grad_input.first(rows)
        np.matmul(grad_output, self._weight_used.T, out=grad_input)
        return grad_input

    def compiled(self) -> tuple[Row, ...]:
        """Return its row, if its activation and dropout have compiled loops."""
        if not (self._dropout is None or self._standard) or self.activation not in {None, *compiled.ACTIVATIONS}:
            return ()
        fields = {
            Field.KIND: Kind.DENSE,
            Field.INPUTS: self.weight.shape[0],
            Field.UNITS: self.units,
            Field.ACTIVATION: compiled.LINEAR if self.activation is None else compiled.ACTIVATIONS[self.activation],
        }
        return (Row(fields=fields, arrays={Field.WEIGHT: "weight", Field.BIAS: "bias"}),)

    def lower(self) -> tuple[Op, ...]:
        """Return product, bias and activation as operations."""
        return self._lowered("y")

    def _lowered(self, output: str) -> tuple[Op, ...]:
        product = Op("matmul", ("x", "weight"), "product")
        if self.activation is None:
            return (product, Op("add", ("product", "bias"), output))
        return (product, Op("add", ("product", "bias"), "sum"), Op(self.activation, ("sum",), output))


class Residual(Dense):
    """y = x + dropout(activation(x weight + bias)): a dense layer with a connection around it (He et al. 2016).

    With the variant ``drop_path`` it is stochastic depth (Huang et al. 2016): a sample takes the branch or goes past.

    Parameters
    ----------
    units
        Of the input and of the output.
    activation, dropout, dtype
        As for ``Dense``.
    """

    def __init__(
        self,
        units: int,
        *,
        activation: str | None = None,
        dropout: DropoutLayer | None = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__(units, units, activation=activation, dropout=dropout, dtype=dtype)
        self.description |= {"residual": True}
        self._sum = Rows(units, dtype)
        self._skipped = Rows(units, dtype)

    @property
    def drops_last(self) -> bool:
        """Never: the connection comes after the dropout."""
        return False

    def forward(self, x: Floats, mode: Mode, *, differentiable: bool) -> Floats:
        """Return the layer's output, shape (rows, units)."""
        branch = super().forward(x, mode, differentiable=differentiable)
        return np.add(x, branch, out=self._sum.first(x.shape[0]))

    def backward(self, grad_output: Floats, *, input_gradient: bool) -> Floats | None:
        """Write the gradients of weight and bias; ``grad_output`` is overwritten."""
        skipped = self._skipped.first(grad_output.shape[0])
        np.copyto(skipped, grad_output)
        grad_input = super().backward(grad_output, input_gradient=input_gradient)
        if grad_input is not None:
            grad_input += skipped
        return grad_input

    def compiled(self) -> tuple[Row, ...]:
        """Return the row of the dense layer, with a connection around it."""
        return tuple(replace(row, fields={**row.fields, Field.RESIDUAL: 1}) for row in super().compiled())

    def lower(self) -> tuple[Op, ...]:
        """Return the dense layer and the sum as operations."""
        return (*self._lowered("branch"), Op("add", ("x", "branch"), "y"))


def _make(place: Place, parameters: Mapping[str, Any], rule: DropoutRule) -> Dense:
    units: int = parameters["units"]
    activation: str | None = None if parameters["activation"] == LINEAR else parameters["activation"]
    residual: bool = parameters["residual"]
    dropout = make_dropout(place, units, rule)
    if rule.variant in BRANCHES and not residual:
        message = f"`{rule.variant}` drops what a residual connection leads past; with `residual` true, "
        raise InvalidInputError.at("/dropout", message + "hidden layers after the first have one")
    if not residual:
        return Dense(place.inputs, units, activation=activation, dropout=dropout, dtype=place.dtype)
    if units != place.inputs:
        message = f"a residual connection needs as many units as there are inputs, {place.inputs}, not {units}"
        raise InvalidInputError.at("/residual", message)
    return Residual(units, activation=activation, dropout=dropout, dtype=place.dtype)


DENSE: Final = LayerKind(
    name="dense",
    computes="y = dropout(activation(x weight + bias)), with `residual` x + that",
    parameters=(
        Parameter("units", "number of units", "integer", minimum=1, maximum=65_536, required=True),
        Parameter(
            "activation",
            "activation of the units; `linear`: none",
            "text",
            default="relu",
            choices=(*ACTIVATIONS, LINEAR),
        ),
        Parameter("residual", "lead past the layer, which then has as many units as inputs", "boolean", default=False),
    ),
    drops=True,
    make=_make,
)
