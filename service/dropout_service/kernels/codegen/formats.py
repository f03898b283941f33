"""Number formats of the arrays, and the one vector step of dropout: ``y = kept ? x * scale : +0.0``.

16-bit formats are worked in float32 with the scale rounded to float32, then rounded to nearest even. The conversions of
bfloat16 are integer arithmetic, and so are those of float16 on a CPU without instructions for them: LLVM's own would
become library calls there, which a just-in-time compiler cannot resolve. Both ways have the same results.
"""

from __future__ import annotations

from typing import Any, Final

from llvmlite import ir

from dropout_service.kernels.codegen.intrinsics import cpu_has, splat

__all__ = ["FORMATS", "LANES", "SIZES", "STREAMED", "UNSCALED", "emit_narrowed", "emit_select", "emit_widened"]

LANES: Final = 32
"""Elements in one vector step."""

_FLOAT16: Final = 0
_B_FLOAT16: Final = 1
_FLOAT32: Final = 2
_FLOAT64: Final = 3

FORMATS: Final = {"float16": _FLOAT16, "bfloat16": _B_FLOAT16, "float32": _FLOAT32, "float64": _FLOAT64}
"""The format of each supported dtype, by ``dtype.name`` (bfloat16 is an extension type that only has a name)."""

UNSCALED: Final = {2: 4, 4: 5, 8: 6}
"""The format, by bytes of an element, that copies bits and ignores the scale: a product, even by 1, quiets a NaN."""

STREAMED: Final = tuple(FORMATS.values())
"""Formats written past the caches where arrays are large."""

SIZES: Final = (2, 2, 4, 8, 2, 4, 8)
"""Bytes of an element, by format."""

_I16: Final = ir.IntType(16)
_I32: Final = ir.IntType(32)
_I64: Final = ir.IntType(64)
_F32: Final = ir.FloatType()
_F64: Final = ir.DoubleType()
_ELEMENTS: Final = (_I16, _I16, _F32, _F64, _I16, _I32, _I64)


def _vector(element: Any) -> Any:
    return ir.VectorType(element, LANES)


def _integers(value: int) -> Any:
    return ir.Constant(_vector(_I32), [value] * LANES)


def _half_to_float(builder: Any, bits: Any) -> Any:
    """float16 -> float32, exact: move the fields into place and let a product by 2^112 correct the exponent's bias."""
    magnitude = builder.shl(builder.and_(bits, _integers(0x7FFF)), _integers(13))
    value = builder.fmul(
        builder.bitcast(magnitude, _vector(_F32)), ir.Constant(_vector(_F32), [float(2.0**112)] * LANES)
    )
    special = builder.icmp_unsigned(">=", magnitude, _integers(0x1F << 23))  # Inf and NaN keep an all-ones exponent
    widened = builder.select(
        special, builder.or_(magnitude, _integers(0x7F800000)), builder.bitcast(value, _vector(_I32))
    )
    sign = builder.shl(builder.and_(bits, _integers(0x8000)), _integers(16))
    return builder.bitcast(builder.or_(widened, sign), _vector(_F32))


def _float_to_half(builder: Any, value: Any) -> Any:
    """float32 -> float16 bits, to nearest even; a NaN stays one, quiet, with the upper bits of its payload."""
    bits = builder.bitcast(value, _vector(_I32))
    magnitude = builder.and_(bits, _integers(0x7FFFFFFF))
    odd = builder.and_(builder.lshr(magnitude, _integers(13)), _integers(1))
    rebased = builder.add(builder.add(magnitude, _integers(0xFFF - (112 << 23) & 0xFFFFFFFF)), odd)
    normal = builder.lshr(rebased, _integers(13))
    # Below 2^-14 the last place is 2^-24 for all: so it is in [0.5, 1) of float32, whose adder then does the rounding.
    shifted = builder.fadd(builder.bitcast(magnitude, _vector(_F32)), ir.Constant(_vector(_F32), [0.5] * LANES))
    subnormal = builder.sub(builder.bitcast(shifted, _vector(_I32)), _integers(0x3F000000))
    result = builder.select(builder.icmp_unsigned("<", magnitude, _integers(113 << 23)), subnormal, normal)
    result = builder.select(builder.icmp_unsigned(">=", magnitude, _integers(0x477FF000)), _integers(0x7C00), result)
    payload = builder.and_(builder.lshr(magnitude, _integers(13)), _integers(0x3FF))
    is_nan = builder.icmp_unsigned(">", magnitude, _integers(0x7F800000))
    result = builder.select(is_nan, builder.or_(payload, _integers(0x7E00)), result)
    sign = builder.and_(builder.lshr(bits, _integers(16)), _integers(0x8000))
    return builder.or_(result, sign)


def _float_to_bfloat(builder: Any, value: Any) -> Any:
    """float32 -> bfloat16 bits, to nearest even; a NaN stays one, quiet."""
    bits = builder.bitcast(value, _vector(_I32))
    odd = builder.and_(builder.lshr(bits, _integers(16)), _integers(1))
    rounded = builder.lshr(builder.add(builder.add(bits, _integers(0x7FFF)), odd), _integers(16))
    quiet = builder.or_(builder.lshr(bits, _integers(16)), _integers(0x40))
    return builder.select(builder.fcmp_unordered("uno", value, value), quiet, rounded)


def _scaled_bfloat(builder: Any, raw: Any, factor: Any) -> Any:
    """bfloat16 x float32 -> bfloat16 bits, to nearest even, for a finite factor.

    Elements are worked as the upper and the lower halves of 32-bit words, so none has to change its lane, and rounded
    as 16-bit numbers. A NaN needs no care: the lower half of its product is 0, so it stays one.
    """
    words = ir.VectorType(_I32, LANES // 2)
    floats, shorts = ir.VectorType(_F32, LANES // 2), raw.type
    upper, half = (ir.Constant(words, [value] * words.count) for value in (0xFFFF0000, 16))
    one, middle = (ir.Constant(shorts, [value] * LANES) for value in (1, 0x8000))
    pairs = builder.bitcast(raw, words)
    even, odd = (
        builder.bitcast(builder.fmul(builder.bitcast(word, floats), splat(builder, factor, floats.count)), words)
        for word in (builder.shl(pairs, half), builder.and_(pairs, upper))
    )
    result = builder.bitcast(builder.or_(builder.and_(odd, upper), builder.lshr(even, half)), shorts)
    rest = builder.bitcast(builder.or_(builder.shl(odd, half), builder.and_(even, builder.not_(upper))), shorts)
    # Up from more than the middle, and from the middle itself to an even number.
    bound = builder.or_(middle, builder.and_(builder.not_(result), one))
    return builder.add(result, builder.zext(builder.icmp_unsigned(">=", rest, bound), shorts))


def _scaled(builder: Any, format_: int, raw: Any, scale: Any) -> Any:
    if format_ in UNSCALED.values():
        return raw
    if format_ == _FLOAT64:
        return builder.fmul(raw, splat(builder, scale, LANES))
    factor = builder.fptrunc(scale, _F32)
    if format_ == _B_FLOAT16:
        return _scaled_bfloat(builder, raw, factor)
    factor = splat(builder, factor, LANES)
    if format_ == _FLOAT32:
        return builder.fmul(raw, factor)
    return emit_narrowed(builder, format_, builder.fmul(emit_widened(builder, format_, raw), factor))


def emit_widened(builder: Any, format_: int, raw: Any) -> Any:
    """Emit the float32 vector of one of 16-bit numbers, exact."""
    if format_ == _FLOAT16 and cpu_has("f16c"):
        return builder.fpext(builder.bitcast(raw, _vector(ir.HalfType())), _vector(_F32))
    bits = builder.zext(raw, _vector(_I32))
    if format_ == _FLOAT16:
        return _half_to_float(builder, bits)
    return builder.bitcast(builder.shl(bits, _integers(16)), _vector(_F32))


def emit_narrowed(builder: Any, format_: int, value: Any) -> Any:
    """Emit the vector of 16-bit numbers nearest to one of float32, ties to even."""
    if format_ == _FLOAT16 and cpu_has("f16c"):
        return builder.bitcast(builder.fptrunc(value, _vector(ir.HalfType())), _vector(_I16))
    narrow = _float_to_half if format_ == _FLOAT16 else _float_to_bfloat
    return builder.trunc(narrow(builder, value), _vector(_I16))


def emit_select(  # noqa: PLR0917 - mirrors the order of an instruction's operands
    builder: Any, format_: int, keep: Any, x_address: Any, y_address: Any, scale: Any, *, streaming: bool = False
) -> None:
    """Emit the step for 32 elements: read x, scale, select, write y (which may be x itself).

    Parameters
    ----------
    builder
        llvmlite's IR builder.
    format_
        One of `FORMATS`.
    keep
        Vector of 32 i1.
    x_address, y_address
        64-bit integers. No alignment is assumed: an array cut from a request body has none.
    scale
        A double.
    streaming
        Write past the caches; ``y_address`` is then at the start of a cache line.
    """
    element = _ELEMENTS[format_]
    vector = _vector(element)
    raw = builder.load(builder.inttoptr(x_address, vector.as_pointer()), align=1)
    kept = _scaled(builder, format_, raw, scale)
    zero = ir.Constant(vector, [0.0 if format_ in {_FLOAT32, _FLOAT64} else 0] * LANES)
    written = builder.store(
        builder.select(keep, kept, zero), builder.inttoptr(y_address, vector.as_pointer()), align=64 if streaming else 1
    )
    if streaming:
        written.set_metadata("nontemporal", builder.module.add_metadata([ir.Constant(_I32, 1)]))
