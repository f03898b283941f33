"""Dropout as layers: the standard one, which a dense layer fuses with its activation, and any variant of the table.

A rate may be set between two steps, which is how a schedule works. What ``forward`` returns is lent, as for all layers.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from dropout_service.errors import InvalidInputError
from dropout_service.kernels.codegen.keystream import GROUP_ELEMENTS, GROUP_LANES, fill
from dropout_service.kernels.dropout import standard
from dropout_service.kernels.training import dense
from dropout_service.kernels.training.table import Field, Kind, Row
from dropout_service.kernels.variants import VARIANTS
from dropout_service.nn.layers.base import DropoutLayer, Rows
from dropout_service.nn.layers.rules import DropoutRule

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    from dropout_service.nn.mode import Mode

    Floats = NDArray[np.floating]

__all__ = ["Dropout", "VariantDropout", "WeightDropout"]


class Dropout(DropoutLayer):
    """Inverted dropout (Srivastava et al. 2014): y = x mask / keep_prob, the identity in evaluation.

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

    def __init__(self, units: int, rate: float, *, layer: int, dtype: DTypeLike = np.float32) -> None:
        super().__init__(units, DropoutRule(rate))
        self.rate = rate
        self._layer = layer
        self._output = Rows(units, dtype)
        self._lanes: NDArray[np.uint64] = np.empty(0, np.uint64)
        self._drawn: NDArray[np.uint16] | None = None

    @property
    def rate(self) -> float:
        """Probability of dropping an element; may be set."""
        return self._rate

    @rate.setter
    def rate(self, rate: float) -> None:
        self._rate = rate
        self.threshold = standard.threshold(rate)
        self.scale = standard.scale(rate, "inverted", training=True)

    def draw(self, rows: int, mode: Mode) -> NDArray[np.uint16]:
        """Return the draws of ``rows`` rows of units, lent until the next."""
        first_group, rest = divmod(mode.first_row * self.units, GROUP_ELEMENTS)
        if rest:
            raise ValueError(f"first_row must be a multiple of {GROUP_ELEMENTS}, not {mode.first_row}")
        size = -(-rows * self.units // GROUP_ELEMENTS) * GROUP_LANES
        if size > self._lanes.size:
            self._lanes = np.empty(size, np.uint64)
        lanes = self._lanes[:size]
        fill(lanes, first_group, np.uint64(mode.offset(self._layer)), np.uint64(mode.seed))
        return lanes.view(np.uint16)

    def drop(self, value: Floats, mode: Mode, derivative: Floats | None = None) -> None:
        """Drop elements of ``value`` (rows, units) in place, and the same of its derivative."""
        draws = self.draw(value.shape[0], mode)
        if derivative is None:
            dense.drop(value, draws, self.threshold, self.scale, value)
        else:
            dense.drop_with_derivative(value, derivative, draws, self.threshold, self.scale)

    def forward(self, x: Floats, mode: Mode, *, differentiable: bool) -> Floats:
        """Return ``x`` with elements dropped, shape (rows, units)."""
        del differentiable
        self._drawn = None
        if not mode.noisy or self.rate == 0:
            return x
        self._drawn = self.draw(x.shape[0], mode)
        output = self._output.first(x.shape[0])
        dense.drop(x, self._drawn, self.threshold, self.scale, output)
        return output

    def compiled(self) -> tuple[Row, ...]:
        """Return its row."""
        return (Row(fields={Field.KIND: Kind.DROPOUT, Field.INPUTS: self.units, Field.UNITS: self.units}),)

    def backward(self, grad_output: Floats, *, input_gradient: bool) -> Floats | None:
        """Return ``grad_output`` with the same elements dropped, in place."""
        if input_gradient and self._drawn is not None:
            dense.drop(grad_output, self._drawn, self.threshold, self.scale, grad_output)
        return grad_output if input_gradient else None


class VariantDropout(DropoutLayer):
    """Any variant of the table, in the form ``inverted``: the identity in evaluation.

    Its noise is drawn for the rows of a pass together, and drawn again by ``backward``.

    Parameters
    ----------
    units
        Columns of the input.
    rule
        Variant, rate, shape (of as many units) and parameters.
    layer
        Number of the layer: addresses its stream.
    dtype
        ``float32`` or ``float64``.

    Raises
    ------
    InvalidInputError
        ``/shape``, ``/rate``, or one of the parameters does not fit the variant.
    """

    def __init__(self, units: int, rule: DropoutRule, *, layer: int, dtype: DTypeLike = np.float32) -> None:
        super().__init__(units, rule)
        self._variant = VARIANTS[rule.variant]
        self._parameters = self._variant.checked_parameters(rule.parameters)
        self._rate = rule.rate
        self._layer = layer
        self._shape = (units,) if rule.shape is None else rule.shape
        self._output = Rows(units, dtype)
        self._drawn: tuple[int, int] | None = None
        self._ask(dtype)

    @property
    def rate(self) -> float:
        """Probability of dropping; may be set."""
        return self._rate

    @rate.setter
    def rate(self, rate: float) -> None:
        self._rate = self._variant.rate.checked(rate)

    def forward(self, x: Floats, mode: Mode, *, differentiable: bool) -> Floats:
        """Return ``x`` (rows, units) with noise."""
        del differentiable
        self._drawn = None
        if not mode.noisy or self.rate == 0:
            return x
        rows = x.shape[0]
        shape = (rows, *self._shape)
        output = self._output.first(rows)
        seed, offset = self._drawn = (self._seed(mode), mode.offset(self._layer))
        self._variant.forward(
            x.reshape(shape), self.rate, seed=seed, offset=offset, out=output.reshape(shape), **self._parameters
        )
        return output

    def backward(self, grad_output: Floats, *, input_gradient: bool) -> Floats | None:
        """Return the gradient by the input of the last ``forward``, in place of ``grad_output``."""
        if input_gradient and self._drawn is not None:
            self._differentiate(grad_output, self._drawn, None)
        return grad_output if input_gradient else None

    def _ask(self, dtype: DTypeLike) -> None:
        """Ask the variant, by a pass over one row, whether it can work on this shape."""
        try:
            self._variant.forward(np.zeros((1, *self._shape), dtype), self._rate, seed=0, **self._parameters)
        except InvalidInputError as error:
            if error.errors[0].pointer != "/x":
                raise
            message = (
                f"`{self.rule.variant}` works on {self._variant.constraints}, with n rows; "
                f"`shape` is the rest, not {list(self._shape)}"
            )
            raise InvalidInputError.at("/shape", message) from error

    def _seed(self, mode: Mode) -> int:
        """Return the seed of a pass: what all rows share does not depend on the place of the first."""
        return mode.seed if mode.first_row == 0 or self._rows_share else mode.seed_of_rows

    @cached_property
    def _rows_share(self) -> bool:
        """Whether two rows have one mask."""
        if not self._variant.masked:
            return False
        return self._variant.mask((2, *self._shape), self.rule.rate, seed=0, **self._parameters).shape[0] == 1

    def _differentiate(self, grad_output: Floats, drawn: tuple[int, int], x: Floats | None) -> float | None:
        """Turn ``grad_output`` into the gradient by the input; return that by the rate, where there is one."""
        view = grad_output.reshape(-1, *self._shape)
        seed, offset = drawn
        x = None if x is None else x.reshape(view.shape)
        return self._variant.backward(
            view, self.rate, seed=seed, offset=offset, x=x, out=view, **self._parameters
        ).grad_rate


class WeightDropout(VariantDropout):
    """Noise on the weights of a dense layer: DropConnect (Wan et al. 2013). See ``Dense``."""

    def _seed(self, mode: Mode) -> int:
        return mode.seed
