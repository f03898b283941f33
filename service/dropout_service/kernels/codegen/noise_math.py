"""Logarithm, exponential and normal numbers as vector code that gives the same bits on every machine.

Only sums, products, quotients and square roots are used, each rounded as IEEE 754 has it and never fused: a library's
functions differ in the last place from one machine to the next. Arguments and results are LLVM vectors of `LANES`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from llvmlite import ir
from numba.core import cgutils

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["DOUBLES", "FLOATS", "LANES", "WORDS", "constant", "emit_exp", "emit_log", "emit_normals"]

LANES: Final = 16
"""Elements in a vector: the 32-bit draws in eight 64-bit lanes of a group."""

WORDS: Final = ir.VectorType(ir.IntType(32), LANES)
_LONGS: Final = ir.VectorType(ir.IntType(64), LANES)
FLOATS: Final = ir.VectorType(ir.FloatType(), LANES)
DOUBLES: Final = ir.VectorType(ir.DoubleType(), LANES)

_LN2: Final = math.log(2)
_LN2_HIGH: Final = float.fromhex("0x1.62e42fee00000p-1")
"""The upper 33 bits of ln 2, so that its products by the exponents of float64 are exact."""
_LN2_LOW: Final = float.fromhex("0x1.a39ef35793c76p-33")


def constant(vector: Any, value: float) -> Any:
    """Return a vector constant with ``value`` in every lane."""
    return ir.Constant(vector, [value] * LANES)


def _polynomial(builder: Any, coefficients: Sequence[float], x: Any) -> Any:
    """Emit a polynomial by Horner's rule, lowest power first."""
    total = constant(x.type, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = builder.fadd(builder.fmul(total, x), constant(x.type, coefficient))
    return total


def emit_log(builder: Any, x: Any) -> Any:
    """Emit the natural logarithm of positive normal numbers: e ln 2 + 2 artanh((m - 1) / (m + 1)).

    The mantissa m is in [1/sqrt 2, sqrt 2), so the argument of artanh is below 0.172 and its series is short.
    """
    double = x.type == DOUBLES
    digits, terms = (52, 12) if double else (23, 5)
    integers = _LONGS if double else WORDS
    # The bits of sqrt(1/2), which are subtracted to carry into the exponent where the mantissa is above it
    root_bits = 0x3FE6A09E667F3BCD if double else 0x3F3504F3
    one = constant(x.type, 1.0)
    bits = builder.bitcast(x, integers)
    exponent = builder.ashr(builder.sub(bits, constant(integers, root_bits)), constant(integers, digits))
    mantissa = builder.bitcast(builder.sub(bits, builder.shl(exponent, constant(integers, digits))), x.type)
    ratio = builder.fdiv(builder.fsub(mantissa, one), builder.fadd(mantissa, one))
    series = _polynomial(builder, [2 / (2 * k + 1) for k in range(terms)], builder.fmul(ratio, ratio))
    whole = builder.fmul(builder.sitofp(exponent, x.type), constant(x.type, _LN2))
    return builder.fadd(whole, builder.fmul(ratio, series))


def emit_exp(builder: Any, x: Any) -> Any:
    """Emit the exponential of doubles between -708 and 708: 2^k exp(r) with r in [-ln 2 / 2, ln 2 / 2]."""
    magic = constant(DOUBLES, 1.5 * 2.0**52)  # added to a number, it rounds it to an integer in the lowest bits
    shifted = builder.fadd(builder.fmul(x, constant(DOUBLES, 1 / _LN2)), magic)
    k = builder.fsub(shifted, magic)
    r = builder.fsub(x, builder.fmul(k, constant(DOUBLES, _LN2_HIGH)))
    r = builder.fsub(r, builder.fmul(k, constant(DOUBLES, _LN2_LOW)))
    series = _polynomial(builder, [1 / math.factorial(n) for n in range(14)], r)
    # The integer is in the low bits of `shifted`; what is above is shifted out.
    bias = builder.add(builder.bitcast(shifted, _LONGS), constant(_LONGS, 1023))
    power = builder.bitcast(builder.shl(bias, constant(_LONGS, 52)), DOUBLES)
    return builder.fmul(series, power)


def emit_normals(builder: Any, radius_draws: Any, angle_draws: Any) -> tuple[Any, Any]:
    """Emit two vectors of standard normal float32 numbers from two of 32-bit draws, by Box and Muller.

    The radius is sqrt(-2 log u) with u = (upper 31 bits + 1/2) 2^-31, so no number is beyond 6.7. The angle is in one
    of the four quarters around the axes, chosen by the lowest two bits, and within it given by the upper 30.
    """
    upper = builder.sitofp(builder.lshr(radius_draws, constant(WORDS, 1)), FLOATS)
    u = builder.fmul(builder.fadd(upper, constant(FLOATS, 0.5)), constant(FLOATS, 2.0**-31))
    square = builder.fmul(emit_log(builder, u), constant(FLOATS, -2.0))
    # u may round to 1, and the series to a number a little above 0: its root would be NaN.
    square = builder.select(builder.fcmp_ordered(">", square, constant(FLOATS, 0.0)), square, constant(FLOATS, 0.0))
    name = f"llvm.sqrt.v{LANES}f32"
    root = cgutils.get_or_insert_function(builder.module, ir.FunctionType(FLOATS, [FLOATS]), name)
    radius = builder.call(root, [square])

    part = builder.sitofp(builder.ashr(angle_draws, constant(WORDS, 2)), FLOATS)
    angle = builder.fmul(builder.fadd(part, constant(FLOATS, 0.5)), constant(FLOATS, math.pi * 2.0**-31))
    square = builder.fmul(angle, angle)
    sine_terms = [(-1) ** n / math.factorial(2 * n + 1) for n in range(5)]
    cosine_terms = [(-1) ** n / math.factorial(2 * n) for n in range(6)]
    sine = builder.fmul(builder.fmul(_polynomial(builder, sine_terms, square), angle), radius)
    cosine = builder.fmul(_polynomial(builder, cosine_terms, square), radius)
    # The quarters are those around +x, +y (mirrored), -x, -y (mirrored): swap for the second and fourth, negate for -.
    swapped = builder.icmp_unsigned("!=", builder.and_(angle_draws, constant(WORDS, 1)), constant(WORDS, 0))
    sign = builder.shl(builder.and_(angle_draws, constant(WORDS, 2)), constant(WORDS, 30))
    first = builder.select(swapped, sine, cosine)
    second = builder.select(swapped, cosine, sine)
    one, other = (
        builder.bitcast(builder.xor(builder.bitcast(value, WORDS), sign), FLOATS) for value in (first, second)
    )
    return one, other
