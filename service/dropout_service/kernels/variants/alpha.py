"""Alpha dropout: dropped elements take the value that a SELU saturates at, and mean and variance are restored."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dropout_service.errors import InvalidInputError
from dropout_service.kernels.codegen.compile_cache import warms
from dropout_service.kernels.dropout import noise_loops, passes, standard
from dropout_service.kernels.runtime import parallel
from dropout_service.kernels.runtime.memory import address
from dropout_service.kernels.variants import elementwise
from dropout_service.kernels.variants.noise_shapes import NoiseShapeVariant, Shape, each

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from dropout_service.kernels.variants.table import Pass

__all__ = ["ALPHA", "ALPHA_PRIME", "FEATURE_ALPHA"]

ALPHA_PRIME: Final = -1.7580993408473766
"""-lambda alpha of the SELU: its limit for large negative arguments."""

_GRAIN: Final = 1 << 15


def affine(rate: float) -> tuple[float, float]:
    """Return a and b of y = a (x mask + alpha' (1 - mask)) + b, which keeps mean 0 and variance 1.

    Parameters
    ----------
    rate
        The effective rate, below 1.
    """
    a = 1 / math.sqrt((1 - rate) * (1 + rate * ALPHA_PRIME**2))
    return a, -a * rate * ALPHA_PRIME


@dataclass(frozen=True, slots=True, kw_only=True)
class AlphaVariant(NoiseShapeVariant):
    """Alpha dropout, of what shares a draw."""

    def scale(self, rate: float, scaling: standard.Scaling = "inverted", training: bool = True) -> float:  # noqa: FBT001, FBT002 - as in `Variant.scale`
        """Return a, the factor of what is kept; 0 where all is dropped."""
        limit = self.effective_rate(rate)
        self._checked_scaling(scaling)
        if not training:
            return 1.0
        return affine(limit)[0] if limit < 1 else 0.0

    def _forward(self, given: Pass) -> None:
        self._apply(given, backward=False)

    def _backward(self, given: Pass) -> None:
        self._apply(given, backward=True)

    def _apply(self, given: Pass, *, backward: bool) -> None:
        noise_shape = self.noise_shape(given.array.shape, given.pointer, given.parameters)
        if not given.array.size:  # nor is a mask drawn, which may be large where one axis of x is empty
            return
        limit = passes.threshold_of(given.rate)
        if not given.training or (limit == 0 and given.mask is None):
            elementwise.copy(given)
            return
        if limit == passes.LEVELS:
            given.out[...] = 0  # the limit of the formula, where it has no value
            return
        a, b = affine(limit / passes.LEVELS)
        numbers = (a, 0.0, 0.0) if backward else (a, b, a * ALPHA_PRIME + b)
        if given.mask is not None:
            elementwise.through_mask(given, given.mask, numbers)
        elif noise_shape != given.array.shape:
            drawn = passes.draw(noise_shape, limit, given.seed, given.offset, given.threads)
            elementwise.through_mask(given, drawn, numbers)
        else:
            elementwise.through(given, lambda x, y: _by_stream(given, x, y, numbers, limit))


def _channels(shape: Shape, pointer: str, _parameters: Mapping[str, Any]) -> Shape:
    if len(shape) < 2:  # noqa: PLR2004 - samples and channels
        message = f"{pointer.removeprefix('/')} has the axes (n, c, ...), not shape {list(shape)}"
        raise InvalidInputError.at(pointer, message)
    return shape[:2] + (1,) * (len(shape) - 2)


def _by_stream(given: Pass, x: NDArray[Any], y: NDArray[Any], numbers: tuple[float, float, float], limit: int) -> None:
    arguments = noise_loops.AFFINE_BY_STREAM.pack(
        x.itemsize, address(x), address(y), *numbers, limit, given.offset, given.seed
    )
    parallel.run(noise_loops.affine_by_stream, arguments, x.size, grain=_GRAIN, threads=given.threads)


_FORMULA: Final = (
    "y = a * (x * mask + alpha' * (1 - mask)) + b, alpha' = -1.7581, p = effective_rate, "
    "a = 1 / sqrt((1 - p) * (1 + p * alpha'^2)), b = -a * p * alpha'; all zeros at p = 1"
)
_GRADIENT: Final = "grad_input = grad_output * mask * a"
_PAPER: Final = "Klambauer, Unterthiner, Mayr, Hochreiter: Self-Normalizing Neural Networks. NIPS 2017, 971-980"

ALPHA: Final = AlphaVariant(
    name="alpha",
    title="Alpha dropout",
    drops="each element on its own, to the negative saturation of a SELU; mean 0 and variance 1 are kept",
    constraints="any shape",
    formula=_FORMULA,
    gradient=_GRADIENT,
    paper=_PAPER,
    noise_shape=each,
)

FEATURE_ALPHA: Final = AlphaVariant(
    name="feature_alpha",
    title="Feature alpha dropout",
    drops="whole channels of each sample, as alpha does",
    constraints="axes (n, c, ...)",
    formula=f"{_FORMULA}; mask drawn on (n, c, 1, ...)",
    gradient=_GRADIENT,
    paper=_PAPER,
    noise_shape=_channels,
)


@warms
def _exercise() -> None:
    x = np.ones((1, 1, 65), np.float32)
    ALPHA.forward(x, 0.5, seed=0)
    FEATURE_ALPHA.forward(x, 0.5, seed=0)
