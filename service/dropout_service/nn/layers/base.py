"""The base class of layers, and the buffers in which they return rows."""

from __future__ import annotations

import abc
import math
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from dropout_service.nn.ops import Op

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import DTypeLike, NDArray

    from dropout_service.kernels.training.table import Row
    from dropout_service.nn.layers.rules import Description, DropoutRule
    from dropout_service.nn.mode import Mode

    Floats = NDArray[np.floating]
    Shapes = Mapping[str, tuple[int, ...]]

__all__ = ["NOTHING", "DropoutLayer", "Layer", "Rows"]

NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
"""The parameters or buffers of a layer that has none."""


class Layer(abc.ABC):
    """A layer of a network.

    A layer owns the arrays that it computes into, so that a training step allocates nothing. What ``forward`` and
    ``backward`` return is lent: it holds until the next call of the same layer.
    """

    units: int
    """Columns of the output."""
    description: Description
    """The layer as JSON values: ``kind``, sizes, and all else that decides what it computes."""
    shapes: Shapes = NOTHING
    """Shapes of the parameters by name; matrices feel weight decay, vectors do not."""
    buffer_shapes: Shapes = NOTHING
    """Shapes of what it keeps beside them and no optimizer moves, such as running statistics. No name twice."""

    codes: tuple[int, ...] = ()
    """Columns of the input that hold codes of categories, and so must come as they are in the data."""
    embeds_numbers: bool = False
    """Whether it makes several numbers of one, each input for itself."""
    batch_statistics: ClassVar[bool] = False
    """Whether training takes statistics of the rows of a pass, and so needs more than one."""

    @property
    def multiplications(self) -> int:
        """Multiplications of a row of a pass: those with its matrices."""
        return sum(math.prod(shape) for shape in self.shapes.values() if len(shape) > 1)

    @property
    def activations(self) -> int:
        """Numbers that a pass keeps of each row."""
        return self.units

    @property
    def dropout(self) -> DropoutLayer | None:
        """The dropout that is part of it, after its activation or of its weights; a dropout layer is its own."""
        return None

    def bind(
        self, params: Mapping[str, Floats], grads: Mapping[str, Floats], buffers: Mapping[str, Floats] = NOTHING
    ) -> None:
        """Take the arrays that hold the parameters, receive their gradients, and hold the buffers."""
        self.params, self.grads, self.buffers = params, grads, buffers

    def initialize(self, initializer: str, *, seed: int, number: int) -> None:  # noqa: B027 - may be left as it is
        """Write the initial parameters and buffers, which are zeros before.

        Parameters
        ----------
        initializer
            A name of ``INITIALIZERS``, or ``auto``: what suits the layer.
        seed, number
            The values are a pure function of the seed and of the layer's number in the network.
        """

    def fit(self, column: Callable[[int], Floats]) -> None:  # noqa: B027 - as above
        """Take what the layer has to know of the training rows into its buffers, once, before the first step.

        It is asked of the first layer that is no dropout only; the result is a pure function of the columns.

        Parameters
        ----------
        column
            Gives an input, by its number, of all training rows as the network sees them, shape (rows,).
        """

    def find_fault(self, x: NDArray[np.floating]) -> tuple[int, int, str] | None:
        """Return row, column and what is wrong with the first value that the layer, as the first, cannot take.

        Parameters
        ----------
        x
            Rows, shape (rows, inputs), float32 or float64.
        """
        del x
        return None

    @abc.abstractmethod
    def forward(self, x: Floats, mode: Mode, *, differentiable: bool) -> Floats:
        """Return the layer's output of ``x``, (rows, inputs), which stays unchanged until ``backward``.

        Parameters
        ----------
        x
            C-contiguous, of the layer's dtype.
        mode
            What the pass is for.
        differentiable
            Keep what ``backward`` needs.
        """

    @abc.abstractmethod
    def backward(self, grad_output: Floats, *, input_gradient: bool) -> Floats | None:
        """Write the parameters' gradients; return the gradient by the input of the last ``forward`` if asked.

        ``grad_output`` may be overwritten.
        """

    def compiled(self) -> tuple[Row, ...]:
        """Return what the layer is in the table of a compiled training, see `kernels.training.program`.

        The last row has its output and its dropout. No rows: it has no place there, and its network is trained by the
        passes of its layers.
        """
        return ()

    @abc.abstractmethod
    def lower(self) -> tuple[Op, ...]:
        """Return what the layer computes in evaluation as operations from ``x`` to ``y``, see ``nn.ops``."""


class DropoutLayer(Layer):
    """A layer that drops.

    Parameters
    ----------
    units
        Columns of the input.
    rule
        What is dropped.
    """

    learned: ClassVar[bool] = False
    """Whether the rate is a parameter."""

    def __init__(self, units: int, rule: DropoutRule) -> None:
        self.rule = rule
        self.units = units
        self.description = {"kind": "dropout", "units": units, **rule.description()}

    @property
    @abc.abstractmethod
    def rate(self) -> float:
        """Probability of dropping; it may be set between two steps."""

    @rate.setter
    @abc.abstractmethod
    def rate(self, rate: float) -> None: ...

    @property
    def dropout(self) -> DropoutLayer:
        """The layer itself."""
        return self

    def lower(self) -> tuple[Op, ...]:
        """Return the identity."""
        return (Op("identity", ("x",), "y"),)


class Rows:
    """A buffer of rows that grows and is lent out as its first rows, contiguous for every count."""

    def __init__(self, units: int, dtype: DTypeLike) -> None:
        self._array: NDArray[np.floating] = np.empty((0, units), dtype)

    def first(self, rows: int) -> Floats:
        """Return the first ``rows`` rows, with whatever they hold."""
        if rows > self._array.shape[0]:
            self._array = np.empty((rows, self._array.shape[1]), self._array.dtype)
        return self._array[:rows]
