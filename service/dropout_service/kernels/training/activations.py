"""Activations with their derivatives as compiled loops, by the numbers of `ACTIVATIONS`.

They are sums, products and quotients only, each rounded as IEEE 754 has it, so that a training gives the same bits on
every CPU; NumPy's own exponentials do not. The exponential is within two units of the last place, see its test.

Each function turns ``z`` into the activation in place and writes the derivative by ``z``. All vectors are float32,
contiguous and of one size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from llvmlite import ir
from numba import types

from dropout_service.kernels.codegen.compile_cache import jit, warms
from dropout_service.kernels.codegen.intrinsics import emits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

__all__ = ["ACTIVATIONS", "LINEAR", "RELU", "activate", "exponential"]

LINEAR: Final = 0
RELU: Final = 1
_SILU: Final = 2
_GELU: Final = 3
_SIGMOID: Final = 4
_TANH: Final = 5
_SELU: Final = 6
_MISH: Final = 7

ACTIVATIONS: Final = {
    "relu": RELU,
    "silu": _SILU,
    "gelu": _GELU,
    "sigmoid": _SIGMOID,
    "tanh": _TANH,
    "selu": _SELU,
    "mish": _MISH,
}
"""Numbers of the activations by their names."""

_LOG2_E: Final = np.float32(1.4426950408889634)
_LN2_HIGH: Final = np.float32(0.693359375)
"""The upper 9 bits of ln 2, so that its products by exponents are exact."""
_LN2_LOW: Final = np.float32(-2.12194440e-4)
_ROUNDS: Final = np.float32(1.5 * 2.0**23)
"""Added to a number below 2^22, it rounds it to an integer, which then stands in the lowest bits."""
_LOWEST: Final = np.float32(-87.0)
_HIGHEST: Final = np.float32(88.0)
_FACTORS: Final = tuple(np.float32(one) for one in (1 / 2, 1 / 6, 1 / 24, 1 / 120, 1 / 720, 1 / 5040))
_TANH_FACTORS: Final = tuple(
    np.float32(one) for one in (-1 / 3, 2 / 15, -17 / 315, 62 / 2835, -1382 / 155925, 21844 / 6081075)
)
_TANH_SERIES_BELOW: Final = np.float32(0.3)
_ONE: Final = np.float32(1)
_TWO: Final = np.float32(2)
_HALF: Final = np.float32(0.5)
_ZERO: Final = np.float32(0)
_GELU_SLOPE: Final = np.float32(0.7978845608028654)
_GELU_CUBIC: Final = np.float32(0.044715)
_THREE: Final = np.float32(3)
_SELU_SCALE: Final = np.float32(1.0507009873554805)
_SELU_SLOPE: Final = np.float32(1.0507009873554805 * 1.6732632423543772)
_SERIES_ABOVE: Final = np.float32(-0.34)
"""From here to 0, e^x - 1 is summed without its 1, which would cost digits."""


@emits(types.int32(types.float32))
def _bits_of(_context: Any, builder: Any, x: Any) -> Any:
    return builder.bitcast(x, ir.IntType(32))


@emits(types.float32(types.int32))
def _float_of(_context: Any, builder: Any, bits: Any) -> Any:
    return builder.bitcast(bits, ir.FloatType())


@jit
def _grown(r: Any) -> Any:
    """e^r - 1 for r in [-ln 2 / 2, ln 2 / 2]."""
    tail = _FACTORS[5] * r + _FACTORS[4]
    tail = tail * r + _FACTORS[3]
    tail = tail * r + _FACTORS[2]
    tail = tail * r + _FACTORS[1]
    tail = tail * r + _FACTORS[0]
    return (tail * r) * r + r


@jit
def exponential(x: Any) -> Any:
    """e^x of a float32, which is taken to lie between -87 and 88: 2^k e^r with r in [-ln 2 / 2, ln 2 / 2]."""
    x = min(max(x, _LOWEST), _HIGHEST)
    shifted = x * _LOG2_E + _ROUNDS
    k = shifted - _ROUNDS
    r = (x - k * _LN2_HIGH) - k * _LN2_LOW
    value = _grown(r) + _ONE
    return value * _float_of(np.int32((_bits_of(shifted) + np.int32(127)) << np.int32(23)))


@jit
def _gate(x: Any) -> Any:
    """1 / (1 + e^-x)."""
    return _ONE / (_ONE + exponential(-x))


@jit
def _silu(z: Floats, derivative: Floats) -> None:
    for i in range(z.size):
        gate = _gate(z[i])
        derivative[i] = ((_ONE - gate) * z[i] + _ONE) * gate
        z[i] *= gate


@jit
def _gelu(z: Floats, derivative: Floats) -> None:
    # The tanh form: (1 + tanh u) / 2 is the sigmoid of 2 u
    for i in range(z.size):
        square = _GELU_CUBIC * z[i] * z[i]
        gate = _gate(_TWO * _GELU_SLOPE * z[i] * (_ONE + square))
        inner = _TWO * _GELU_SLOPE * (_ONE + _THREE * square)
        derivative[i] = gate + z[i] * gate * (_ONE - gate) * inner
        z[i] *= gate


@jit
def _sigmoid(z: Floats, derivative: Floats) -> None:
    for i in range(z.size):
        gate = _gate(z[i])
        derivative[i] = gate * (_ONE - gate)
        z[i] = gate


@jit
def _tanh(z: Floats, derivative: Floats) -> None:
    for i in range(z.size):
        x = z[i]
        square = x * x
        small = _TANH_FACTORS[5] * square + _TANH_FACTORS[4]
        small = small * square + _TANH_FACTORS[3]
        small = small * square + _TANH_FACTORS[2]
        small = small * square + _TANH_FACTORS[1]
        small = small * square + _TANH_FACTORS[0]
        small = small * square * x + x
        e = exponential(-_TWO * abs(x))
        large = (_ONE - e) / (_ONE + e)
        large = large if x > _ZERO else -large
        value = small if abs(x) < _TANH_SERIES_BELOW else large
        derivative[i] = _ONE - value * value
        z[i] = value


@jit
def _relu(z: Floats, derivative: Floats) -> None:
    for i in range(z.size):
        passed = z[i] > _ZERO
        derivative[i] = _ONE if passed else _ZERO
        z[i] = z[i] if not z[i] <= _ZERO else _ZERO  # a NaN passes, and is found


@jit
def _selu(z: Floats, derivative: Floats) -> None:
    for i in range(z.size):
        x = z[i]
        e = exponential(x)
        below = _grown(x) if x > _SERIES_ABOVE else e - _ONE
        negative = not x > _ZERO  # a NaN too, and is found
        derivative[i] = _SELU_SLOPE * e if negative else _SELU_SCALE
        z[i] = _SELU_SLOPE * below if negative else _SELU_SCALE * x


@jit
def _mish(z: Floats, derivative: Floats) -> None:
    # e^z = p / q, neither above 1: see nn.activations
    for i in range(z.size):
        x = z[i]
        e = exponential(-abs(x))
        p, q = (_ONE, e) if x > _ZERO else (e, _ONE)
        grown, rest = p * (p + _TWO * q), _TWO * q * q
        gate = grown / (grown + rest)
        derivative[i] = gate + x * (rest / (grown + rest)) * (_ONE + gate) * (p / (p + q))
        z[i] = x * gate


@jit
def activate(number: int, z: Floats, derivative: Floats) -> None:
    """Apply the activation of a number of `ACTIVATIONS`; `LINEAR` writes the derivative only."""
    if number == RELU:
        _relu(z, derivative)
    elif number == _SILU:
        _silu(z, derivative)
    elif number == _GELU:
        _gelu(z, derivative)
    elif number == _SIGMOID:
        _sigmoid(z, derivative)
    elif number == _TANH:
        _tanh(z, derivative)
    elif number == _SELU:
        _selu(z, derivative)
    elif number == _MISH:
        _mish(z, derivative)
    else:
        derivative[:] = _ONE


@warms
def _warm() -> None:
    exponential(np.float32(0))
    activate(RELU, np.zeros(1, np.float32), np.zeros(1, np.float32))
