"""Embeddings of numbers; the rows ``periodic`` and ``piecewise_linear`` of the registry.

Gorishniy, Rubachev and Babenko (2022), "On embeddings for numerical features in tabular deep learning": each number
becomes several, of its own, and then optionally goes through a linear map of its own with an activation.
"""

from __future__ import annotations

import abc
import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dropout_service.errors import InvalidInputError
from dropout_service.kernels.streams import Purpose, normal, stream
from dropout_service.kernels.training import activations as compiled
from dropout_service.kernels.training import columns, dense
from dropout_service.kernels.training.table import Field, Kind, Row
from dropout_service.kernels.variants.parameters import Parameter
from dropout_service.nn.activations import ACTIVATIONS
from dropout_service.nn.initializers import INITIALIZERS, default_initializer
from dropout_service.nn.layers.base import Layer, Rows
from dropout_service.nn.layers.dense import LINEAR
from dropout_service.nn.layers.kind import LayerKind
from dropout_service.nn.ops import Op

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import DTypeLike, NDArray

    from dropout_service.nn.layers.kind import Place
    from dropout_service.nn.layers.rules import DropoutRule
    from dropout_service.nn.mode import Mode

    Floats = NDArray[np.floating]

__all__ = ["PERIODIC", "PIECEWISE_LINEAR", "NumericEmbedding", "Periodic", "PiecewiseLinear"]


class NumericEmbedding(Layer, abc.ABC):
    """Numbers, each expanded to ``width`` values and, with ``units``, led through a dense layer of its own.

    The output has ``units`` columns, or ``width`` without them, for each input, side by side.

    Parameters
    ----------
    inputs
        Columns of the input.
    width
        Values that an input is expanded to.
    units
        Units of the dense layer of each input; 0: none.
    activation
        Of these, a name of ``ACTIVATIONS`` or ``linear``.
    dtype
        ``float32`` or ``float64``.
    """

    embeds_numbers = True
    learns: bool = False
    """Whether the expansion has parameters."""

    def __init__(self, inputs: int, *, width: int, units: int, activation: str, dtype: DTypeLike = np.float32) -> None:
        self.inputs, self.width = inputs, width
        self._each = units or width
        self._dense = units > 0
        self.units = inputs * self._each
        self.shapes = {"weight": (inputs, width, units), "bias": (inputs * units,)} if units else {}
        self._activation = None if activation == LINEAR else activation
        self._act = None if self._activation is None else ACTIVATIONS[self._activation]
        self._expanded, self._expanded_grad = (Rows(inputs * width, dtype) for _ in range(2))
        self._output, self._derivative = (Rows(self.units, dtype) for _ in range(2))
        self._grad_input = Rows(inputs, dtype)
        self._x = np.empty((0, inputs), dtype)

    @property
    def activations(self) -> int:
        """Numbers that a pass keeps of each row."""
        return self.units + self.inputs * self.width

    def initialize(self, initializer: str, *, seed: int, number: int) -> None:
        """Draw the weights of the dense layers as for one input; biases are 0."""
        if not self._dense:
            return
        name = default_initializer(self._activation) if initializer == "auto" else initializer
        weight = self.params["weight"]
        shape = self.width, self._each
        weight[:] = INITIALIZERS[name](*shape, seed=seed, layer=number, copies=self.inputs, dtype=weight.dtype)

    def forward(self, x: Floats, mode: Mode, *, differentiable: bool) -> Floats:
        """Return the embedded numbers, shape (rows, units)."""
        del mode
        self._x = x
        rows = len(x)
        expanded = self._expanded.first(rows)
        self._expand(x, expanded)
        if not self._dense:
            return expanded
        output = self._output.first(rows)
        np.matmul(self._of_inputs(expanded, self.width), self.params["weight"], out=self._of_inputs(output, self._each))
        output += self.params["bias"]
        if self._act is not None:
            self._act.apply(output, self._derivative.first(rows) if differentiable else None)
        return output

    def backward(self, grad_output: Floats, *, input_gradient: bool) -> Floats | None:
        """Write the parameters' gradients; ``grad_output`` is overwritten."""
        rows = len(grad_output)
        expanded, grad = self._expanded.first(rows), grad_output
        if self._dense:
            if self._act is None:
                np.add.reduce(grad_output, axis=0, out=self.grads["bias"])
            else:
                dense.dense_backward(grad_output, self._derivative.first(rows), self.grads["bias"])
            of_inputs = self._of_inputs(grad_output, self._each)
            np.matmul(self._of_inputs(expanded, self.width).transpose(0, 2, 1), of_inputs, out=self.grads["weight"])
            if not (self.learns or input_gradient):
                return None
            grad = self._expanded_grad.first(rows)
            np.matmul(of_inputs, self.params["weight"].transpose(0, 2, 1), out=self._of_inputs(grad, self.width))
        grad_input = self._grad_input.first(rows)
        self._collapse(grad, expanded, grad_input)
        return grad_input if input_gradient else None

    def lower(self) -> tuple[Op, ...]:
        """Return expansion, products, biases and activation as operations."""
        if not self._dense:
            return self._lowered("y")
        product = Op("products", ("expanded", "weight"), "product")
        if self._activation is None:
            return (*self._lowered("expanded"), product, Op("add", ("product", "bias"), "y"))
        return (
            *self._lowered("expanded"),
            product,
            Op("add", ("product", "bias"), "sum"),
            Op(self._activation, ("sum",), "y"),
        )

    @abc.abstractmethod
    def _expand(self, x: Floats, out: Floats) -> None:
        """Write the values of each input, ``width`` side by side."""

    @abc.abstractmethod
    def _collapse(self, grad: Floats, expanded: Floats, grad_input: Floats) -> None:
        """Write the gradients of the expansion's parameters and, into ``grad_input``, that by the inputs."""

    @abc.abstractmethod
    def _lowered(self, output: str) -> tuple[Op, ...]:
        """Return the expansion as operations."""

    def _of_inputs(self, rows: Floats, each: int) -> Floats:
        """Return rows as a matrix for each input: (inputs, rows, each)."""
        return rows.reshape(len(rows), self.inputs, each).transpose(1, 0, 2)


class Periodic(NumericEmbedding):
    """sin and cos of 2 pi f x, with frequencies f of each input that are learned, and at first N(0, sigma^2).

    Parameters
    ----------
    inputs
        Columns of the input.
    frequencies
        How many for each input.
    sigma
        Their deviation at first.
    units, activation, dtype
        As for ``NumericEmbedding``.
    """

    learns = True

    def __init__(
        self,
        inputs: int,
        *,
        frequencies: int,
        sigma: float,
        units: int,
        activation: str = "relu",
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__(inputs, width=2 * frequencies, units=units, activation=activation, dtype=dtype)
        # A vector, so that weight decay does not lead frequencies to 0
        self.shapes = {**self.shapes, "frequencies": (inputs * frequencies,)}
        self.description = {
            "kind": "periodic",
            "inputs": inputs,
            "units": units,
            "activation": activation,
            "frequencies": frequencies,
            "sigma": sigma,
        }
        self._sigma = sigma
        self._phases = Rows(inputs * frequencies, dtype)

    def initialize(self, initializer: str, *, seed: int, number: int) -> None:
        """Draw the frequencies, and the weights behind them."""
        super().initialize(initializer, seed=seed, number=number)
        frequencies = self.params["frequencies"]
        offset = stream(Purpose.INIT, layer=number, step=1)  # step 0 is the weight's
        frequencies[:] = self._sigma * normal(frequencies.size, seed=seed, offset=offset)

    def _expand(self, x: Floats, out: Floats) -> None:
        rows = len(x)
        phases = self._phases.first(rows).reshape(rows, self.inputs, -1)
        frequencies = self.params["frequencies"].reshape(self.inputs, -1)
        np.multiply(x[:, :, np.newaxis], frequencies, out=phases)
        phases *= 2 * math.pi
        pairs = out.reshape(rows, self.inputs, 2, -1)
        np.sin(phases, out=pairs[:, :, 0])
        np.cos(phases, out=pairs[:, :, 1])

    def _collapse(self, grad: Floats, expanded: Floats, grad_input: Floats) -> None:
        rows = len(grad)
        grads = grad.reshape(rows, self.inputs, 2, -1)
        pairs = expanded.reshape(rows, self.inputs, 2, -1)
        phases = self._phases.first(rows).reshape(rows, self.inputs, -1)
        np.multiply(grads[:, :, 0], pairs[:, :, 1], out=phases)
        phases -= grads[:, :, 1] * pairs[:, :, 0]
        phases *= 2 * math.pi
        by_frequency = self.grads["frequencies"].reshape(self.inputs, -1)
        np.einsum("rnf,rn->nf", phases, self._x, out=by_frequency)
        np.einsum("rnf,nf->rn", phases, self.params["frequencies"].reshape(self.inputs, -1), out=grad_input)

    def _lowered(self, output: str) -> tuple[Op, ...]:
        return (
            Op("repeat", ("x",), "repeated", {"times": self.width // 2}),
            Op("multiply", ("repeated", "frequencies"), "turns"),
            Op("scale", ("turns",), "phases", {"by": 2 * math.pi}),
            Op("sin", ("phases",), "sines"),
            Op("cos", ("phases",), "cosines"),
            Op("interleave", ("sines", "cosines"), output, {"groups": self.inputs}),
        )


_UNBOUNDED: Final = float(np.finfo(np.float32).max)
"""Stands for no bound where all values are finite."""
_NARROWEST: Final = 1e-6
"""Of the range of an input: a narrower bin is joined with the next, so that no slope is beyond float32."""


class PiecewiseLinear(NumericEmbedding):
    """How far an input is through each of its bins: 1 for those below it, 0 for those above, and a line in its own.

    The first bin goes on below its start and the last one above its end. Edges are quantiles of the training rows,
    equal ones counted once: an input of few distinct values has fewer bins, and the rest of its values are 0.

    Parameters
    ----------
    inputs
        Columns of the input.
    bins
        How many for each input.
    units, activation, dtype
        As for ``NumericEmbedding``.
    """

    def __init__(
        self, inputs: int, *, bins: int, units: int, activation: str = "relu", dtype: DTypeLike = np.float32
    ) -> None:
        super().__init__(inputs, width=bins, units=units, activation=activation, dtype=dtype)
        self.buffer_shapes = dict.fromkeys(("start", "slope", "low", "high"), (inputs * bins,))
        self.description = {
            "kind": "piecewise_linear",
            "inputs": inputs,
            "units": units,
            "activation": activation,
            "bins": bins,
        }

    def compiled(self) -> tuple[Row, ...]:
        """Return its row, if its activation has a compiled loop."""
        if self._activation not in {None, *compiled.ACTIVATIONS}:
            return ()
        fields = {
            Field.KIND: Kind.PIECEWISE_LINEAR,
            Field.INPUTS: self.inputs,
            Field.UNITS: self.units,
            Field.ACTIVATION: compiled.LINEAR if self._activation is None else compiled.ACTIVATIONS[self._activation],
            Field.WIDTH: self.width,
            Field.EACH: self._each if self._dense else 0,
        }
        arrays = {Field.BUFFER: "start", **({Field.WEIGHT: "weight", Field.BIAS: "bias"} if self._dense else {})}
        return (Row(fields=fields, arrays=arrays),)

    def fit(self, column: Callable[[int], Floats]) -> None:
        """Take the edges of the bins from the training rows."""
        views = [self.buffers[name].reshape(self.inputs, -1) for name in ("start", "slope", "low", "high")]
        for view in views:
            view[:] = 0
        for j in range(self.inputs):
            edges = _edges(column(j), self.width)
            bins = edges.size - 1
            if bins:
                start, slope, low, high = (view[j, :bins] for view in views)
                start[:] = edges[:-1]
                slope[:] = 1 / np.diff(edges)
                low[0], high[:], high[-1] = -_UNBOUNDED, 1, _UNBOUNDED

    def _expand(self, x: Floats, out: Floats) -> None:
        kept = self.buffers
        columns.clip_lines(x, kept["start"], kept["slope"], kept["low"], kept["high"], out)

    def _collapse(self, grad: Floats, expanded: Floats, grad_input: Floats) -> None:
        kept = self.buffers
        columns.clip_lines_backward(grad, expanded, kept["slope"], kept["low"], kept["high"], grad_input)

    def _lowered(self, output: str) -> tuple[Op, ...]:
        return (
            Op("repeat", ("x",), "repeated", {"times": self.width}),
            Op("subtract", ("repeated", "start"), "beyond"),
            Op("multiply", ("beyond", "slope"), "lines"),
            Op("larger", ("lines", "low"), "above"),
            Op("smaller", ("above", "high"), output),
        )


def _edges(values: Floats, bins: int) -> NDArray[np.float64]:
    """Return the edges of at most so many bins with about as many values each, rising."""
    quantiles = np.quantile(values.astype(np.float64), np.linspace(0, 1, bins + 1), overwrite_input=True)
    edges = quantiles.astype(np.float32).astype(np.float64)
    least = _NARROWEST * (edges[-1] - edges[0])
    kept = [edges[0]]
    for edge in edges[1:]:
        if edge - kept[-1] > least:
            kept.append(edge)
    return np.array(kept)


def _for_inputs(make: Callable[..., NumericEmbedding]) -> Callable[..., NumericEmbedding]:
    def made(place: Place, parameters: Mapping[str, Any], rule: DropoutRule) -> NumericEmbedding:
        del rule
        if not place.first:
            raise InvalidInputError.at("", "numbers are embedded at the inputs: nothing but dropout may come before")
        return make(place.inputs, dtype=place.dtype, **parameters)

    return made


_UNITS: Final = Parameter(
    "units", "units of a dense layer of each input; 0: none", "integer", default=0, minimum=0, maximum=1024
)
_ACTIVATION: Final = Parameter(
    "activation", "of these units; `linear`: none", "text", default="relu", choices=(*ACTIVATIONS, LINEAR)
)

PERIODIC: Final = LayerKind(
    name="periodic",
    computes="y = sin and cos of 2 pi f x with learned frequencies f of each input, with `units` activation(that "
    "weight + bias), each input for itself",
    parameters=(
        Parameter("frequencies", "how many for each input", "integer", default=16, minimum=1, maximum=1024),
        Parameter(
            "sigma",
            "deviation of the initial frequencies",
            "number",
            default=0.1,
            minimum=0,
            exclusive_minimum=True,
            maximum=1000,
        ),
        _UNITS,
        _ACTIVATION,
    ),
    make=_for_inputs(Periodic),
)
PIECEWISE_LINEAR: Final = LayerKind(
    name="piecewise_linear",
    computes="y = how far x is through each bin between quantiles of the training rows, with `units` activation(that "
    "weight + bias), each input for itself",
    parameters=(
        Parameter("bins", "how many for each input", "integer", default=16, minimum=1, maximum=1024),
        _UNITS,
        _ACTIVATION,
    ),
    make=_for_inputs(PiecewiseLinear),
)
