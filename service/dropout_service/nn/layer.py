"""What a layer is, where its noise comes from, and the buffers it lends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from dropout_service.kernels.streams import Purpose, stream

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import DTypeLike, NDArray

    Floats = NDArray[np.floating]

__all__ = ["Description", "Layer", "Masks", "Rows"]

Description = dict[str, int | float | str | bool | list[int] | None]
"""What kind of layer one is, as JSON values."""

_WORD = (1 << 64) - 1
_SPREAD = 0x9E3779B97F4A7C15
"""2^64 over the golden ratio: odd, so that its multiples are all different modulo 2^64."""


@dataclass(frozen=True, slots=True)
class Masks:
    """Where the noise of one pass comes from: a pure function of these fields and the layer's number.

    Parameters
    ----------
    seed
        Seed of the training or of the prediction.
    step
        Global step of a training, or number of a Monte-Carlo sample.
    purpose
        Which family of streams.
    first_row
        Place of the pass's first row in the whole array, a multiple of 64. Row r gets the same mask of standard
        dropout however the rows are cut into passes; the other variants draw for each pass on its own, the same for
        the same cut.
    """

    seed: int
    step: int
    purpose: Purpose = Purpose.DROPOUT
    first_row: int = 0

    def offset(self, layer: int) -> int:
        """Return the stream of a layer."""
        return stream(self.purpose, layer=layer, step=self.step)

    @property
    def seed_of_rows(self) -> int:
        """The seed of the pass that begins at ``first_row``, for noise that knows no place to begin at."""
        return self.seed ^ (self.first_row * _SPREAD & _WORD)


class Layer(Protocol):
    """What a network is made of."""

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Shapes of the parameters by name."""
        ...

    @property
    def description(self) -> Description:
        """What kind of layer it is, as JSON values."""
        ...

    def bind(self, params: Mapping[str, Floats], grads: Mapping[str, Floats]) -> None:
        """Take the arrays that hold the parameters and receive their gradients."""
        ...

    def forward(self, x: Floats, masks: Masks | None, *, differentiable: bool) -> Floats:
        """Return the layer's output of ``x`` (rows, inputs); ``masks=None`` leaves dropout out."""
        ...

    def backward(self, grad_output: Floats, *, input_gradient: bool) -> Floats | None:
        """Write the parameters' gradients; return the gradient by the input of the last ``forward`` if asked.

        ``grad_output`` may be overwritten.
        """
        ...


class Rows:
    """A buffer of rows that grows and is lent out as its first rows, contiguous for every count."""

    def __init__(self, units: int, dtype: DTypeLike) -> None:
        self._array: NDArray[np.floating] = np.empty((0, units), dtype)

    def first(self, rows: int) -> Floats:
        """Return the first ``rows`` rows, with whatever they hold."""
        if rows > self._array.shape[0]:
            self._array = np.empty((rows, self._array.shape[1]), self._array.dtype)
        return self._array[:rows]
