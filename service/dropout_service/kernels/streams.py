"""Random draws addressed by (seed, offset): no generator, no state, the same on every machine.

An *offset* names one stream of a seed. `stream` builds it from what the draw is for, so two purposes, layers or steps
never share numbers, and a resumed job draws again what an uninterrupted one drew.
"""

from __future__ import annotations

import math
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dropout_service.errors import InvalidInputError
from dropout_service.kernels.codegen.compile_cache import warms
from dropout_service.kernels.codegen.keystream import GROUP_LANES, fill
from dropout_service.kernels.ordering import stable_order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import DTypeLike, NDArray

__all__ = ["Purpose", "bits", "normal", "permutation", "stream", "uniform"]

_LAYER_BITS: Final = 16
_STEP_BITS: Final = 40


class Purpose(IntEnum):
    """What a draw is for: the top byte of an offset. Zero is left to callers who pass small offsets of their own."""

    DROPOUT = 1
    INPUT_DROPOUT = 2
    INIT = 3
    SHUFFLE = 4
    SPLIT = 5
    MC_SAMPLE = 6
    MEMBER = 7


def stream(purpose: Purpose, *, layer: int = 0, step: int = 0) -> int:
    """Return the offset of one stream: ``purpose << 56 | layer << 40 | step``.

    Parameters
    ----------
    purpose
        What is drawn.
    layer
        Which layer it is drawn for, below 2^16.
    step
        Training step, epoch or sample, below 2^40.

    Examples
    --------
    >>> hex(stream(Purpose.SHUFFLE, step=3))
    '0x400000000000003'
    """
    if not 0 <= layer < 1 << _LAYER_BITS or not 0 <= step < 1 << _STEP_BITS:
        message = f"layer is below 2^{_LAYER_BITS} and step below 2^{_STEP_BITS}, not {layer} and {step}"
        raise InvalidInputError.at("/offset", message)
    return purpose << _LAYER_BITS + _STEP_BITS | layer << _STEP_BITS | step


def bits(size: int, *, seed: int, offset: int) -> NDArray[np.uint64]:
    """Draw ``size`` times 64 bits: the lanes of the stream in order, so a shorter draw is a prefix of a longer one."""
    lanes = np.empty(-(-size // GROUP_LANES) * GROUP_LANES, np.uint64)
    fill(lanes, 0, np.uint64(offset), np.uint64(seed))
    return lanes[:size]


def uniform(
    shape: int | Sequence[int], *, seed: int, offset: int, dtype: DTypeLike = np.float64
) -> NDArray[np.floating[Any]]:
    """Draw from the uniform distribution on [0, 1): the top 24 bits of a draw for float32, the top 53 for float64.

    Parameters
    ----------
    shape
        Shape of the result, filled in C order.
    seed, offset
        The stream; see `stream`.
    dtype
        float32 or float64.
    """
    digits = np.finfo(dtype).nmant + 1
    draws = bits(_size(shape), seed=seed, offset=offset)
    result = (draws >> np.uint64(64 - digits)).astype(dtype) * np.asarray(2.0**-digits, dtype)
    return result.reshape(shape)


def normal(
    shape: int | Sequence[int], *, seed: int, offset: int, dtype: DTypeLike = np.float64
) -> NDArray[np.floating[Any]]:
    """Draw from the standard normal distribution, by its inverse distribution function.

    Only sums, products, quotients and square roots are used, all of them exact to the last bit in IEEE 754: a library's
    logarithm or cosine may differ from one machine to the next.

    Parameters
    ----------
    shape
        Shape of the result, filled in C order.
    seed, offset
        The stream; see `stream`.
    dtype
        float32 or float64; the former is the latter, rounded.

    References
    ----------
    Wichura, "Algorithm AS 241: The percentage points of the normal distribution", Applied Statistics 37 (1988).
    """
    draws = bits(_size(shape), seed=seed, offset=offset)
    probability = ((draws >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
    return _inverse_normal(probability).astype(dtype).reshape(shape)


def permutation(n: int, *, seed: int, offset: int) -> NDArray[np.int64]:
    """Draw an order of ``0 .. n - 1``: the stable order of n draws of 64 bits."""
    return stable_order(bits(n, seed=seed, offset=offset))


def _size(shape: int | Sequence[int]) -> int:
    return shape if isinstance(shape, int) else math.prod(shape)


# Coefficients of AS 241 (PPND16), lowest power first: numerator and denominator for the middle, the tail, the far tail.
_MIDDLE: Final = (
    (
        3.3871328727963666080,
        1.3314166789178437745e2,
        1.9715909503065514427e3,
        1.3731693765509461125e4,
        4.5921953931549871457e4,
        6.7265770927008700853e4,
        3.3430575583588128105e4,
        2.5090809287301226727e3,
    ),
    (
        1.0,
        4.2313330701600911252e1,
        6.8718700749205790830e2,
        5.3941960214247511077e3,
        2.1213794301586595867e4,
        3.9307895800092710610e4,
        2.8729085735721942674e4,
        5.2264952788528545610e3,
    ),
)
_TAIL: Final = (
    (
        1.42343711074968357734,
        4.63033784615654529590,
        5.76949722146069140550,
        3.64784832476320460504,
        1.27045825245236838258,
        2.41780725177450611770e-1,
        2.27238449892691845833e-2,
        7.74545014278341407640e-4,
    ),
    (
        1.0,
        2.05319162663775882187,
        1.67638483018380384940,
        6.89767334985100004550e-1,
        1.48103976427480074590e-1,
        1.51986665636164571966e-2,
        5.47593808499534494600e-4,
        1.05075007164441684324e-9,
    ),
)
_FAR_TAIL: Final = (
    (
        6.65790464350110377720,
        5.46378491116411436990,
        1.78482653991729133580,
        2.96560571828504891230e-1,
        2.65321895265761230930e-2,
        1.24266094738807843860e-3,
        2.71155556874348757815e-5,
        2.01033439929228813265e-7,
    ),
    (
        1.0,
        5.99832206555887937690e-1,
        1.36929880922735805310e-1,
        1.48753612908506148525e-2,
        7.86869131145613259100e-4,
        1.84631831751005468180e-5,
        1.42151175831644588870e-7,
        2.04426310338993978564e-15,
    ),
)

_LN2: Final = math.log(2)
_LOG_TERMS: Final = 12
"""Terms of the series of `_log`: the next one is below 2^-60 of the sum."""


def _polynomial(coefficients: tuple[float, ...], x: NDArray[np.float64]) -> NDArray[np.float64]:
    total = np.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total *= x
        total += coefficient
    return total


def _ratio(pair: tuple[tuple[float, ...], tuple[float, ...]], x: NDArray[np.float64]) -> NDArray[np.float64]:
    return _polynomial(pair[0], x) / _polynomial(pair[1], x)


def _log(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Natural logarithm as e ln 2 + 2 artanh((m - 1) / (m + 1)), with m in [1/sqrt 2, sqrt 2)."""
    mantissa, exponent = np.frexp(x)
    low = mantissa < math.sqrt(0.5)
    mantissa = np.where(low, 2 * mantissa, mantissa)
    exponent = exponent - low
    ratio = (mantissa - 1) / (mantissa + 1)
    series = _polynomial(tuple(1 / (2 * k + 1) for k in range(_LOG_TERMS)), ratio * ratio)
    return exponent * _LN2 + 2 * ratio * series


def _inverse_normal(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    centred = probability - 0.5
    result = centred * _ratio(_MIDDLE, 0.180625 - centred * centred)
    outer = np.abs(centred) > 0.425  # noqa: PLR2004 - where AS 241 changes over
    tail_side = centred[outer]
    radius = np.sqrt(-_log(np.where(tail_side < 0, probability[outer], 1 - probability[outer])))
    tail = np.where(radius <= 5, _ratio(_TAIL, radius - 1.6), _ratio(_FAR_TAIL, radius - 5))  # noqa: PLR2004 - as above
    result[outer] = np.copysign(tail, tail_side)
    return result


@warms
def _exercise() -> None:
    bits(1, seed=0, offset=0)
