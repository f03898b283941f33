"""The compiled loops of the variants whose noise is more than a mask times one scale.

Like those of `loops` they take addresses and plain numbers, packed, and are what `parallel.run` calls. They read and
write float32 and float64; narrower formats go through float32. Noise is drawn in groups: 64 elements of 16 bits each,
the mask stream, or 32 elements of 32 bits, in the same order of lanes and bits; see docs/mask-stream.md.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from llvmlite import ir
from numba import carray, types  # pyright: ignore[reportPrivateImportUsage] - it is public, as its manual has it
from numba.core import cgutils

from dropout_service.kernels.codegen.aes import cipher
from dropout_service.kernels.codegen.compile_cache import jit
from dropout_service.kernels.codegen.intrinsics import ROOM_BYTES, copy_bytes, emits, pointer_to, room, splat, unpacks
from dropout_service.kernels.codegen.keystream import ADDRESS, GROUP_ELEMENTS, GROUP_LANES, emit_groups, keyed
from dropout_service.kernels.codegen.noise_math import (
    DOUBLES,
    FLOATS,
    LANES,
    WORDS,
    constant,
    emit_exp,
    emit_log,
    emit_normals,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

__all__ = [
    "AFFINE_BY_MASK",
    "AFFINE_BY_STREAM",
    "CONCRETE",
    "CONCRETE_BACKWARD",
    "GAUSSIAN",
    "GROUP_WORDS",
    "SUM_ELEMENTS",
    "affine_by_mask",
    "affine_by_stream",
    "bytes_at",
    "concrete",
    "concrete_backward",
    "gaussian",
]

AFFINE_BY_STREAM: Final = Struct("qqqdddqQQ")
"""Arguments: bytes of an element, x, y, factor, shift, value of dropped elements, threshold, offset, seed."""
AFFINE_BY_MASK: Final = Struct("qqqdddqq")
"""Arguments: bytes of an element, x, y, factor, shift, value of dropped elements, mask, elements to each flag of it."""
GAUSSIAN: Final = Struct("qqqdQQ")
"""Arguments: bytes of an element, x, y, standard deviation, offset, seed."""
CONCRETE: Final = Struct("qqqdddQQ")
"""Arguments: bytes of an element, x, y, odds of dropping, 1 / temperature, 1 / keep_prob, offset, seed."""
CONCRETE_BACKWARD: Final = Struct("qqqqqddddQQ")
"""Arguments: bytes of an element, grad_output, x, grad_input, sums, then as CONCRETE, with 1 / (temperature rate)
before the offset. The sums are 16 doubles to each SUM_ELEMENTS elements, at first zero."""

GROUP_WORDS: Final = 2 * GROUP_LANES
"""Elements in a group of 32 bits each."""
SUM_ELEMENTS: Final = 4096
"""Elements that are summed up on their own, so that no sum depends on the number of threads."""

_FLOAT_BYTES: Final = 4
_I16: Final = ir.IntType(16)
_I64: Final = ir.IntType(64)
_F32: Final = ir.FloatType()
_F64: Final = ir.DoubleType()
_PIECE: Final = GROUP_ELEMENTS // 2
_LARGEST_EXPONENT: Final = 708.0

_unpack_affine_by_stream = unpacks(AFFINE_BY_STREAM)
_unpack_affine_by_mask = unpacks(AFFINE_BY_MASK)
_unpack_gaussian = unpacks(GAUSSIAN)
_unpack_concrete = unpacks(CONCRETE)
_unpack_concrete_backward = unpacks(CONCRETE_BACKWARD)

_ARRAYS: Final = (types.int64, types.int64, types.int64, types.int64)  # bytes of an element, x, y, groups

bytes_at = pointer_to(types.uint8)
_floats_at = pointer_to(types.float32)
_doubles_at = pointer_to(types.float64)


def _load(builder: Any, vector: Any, address: Any) -> Any:
    return builder.load(builder.inttoptr(address, vector.as_pointer()), align=1)


def _store(builder: Any, value: Any, address: Any) -> None:
    builder.store(value, builder.inttoptr(address, value.type.as_pointer()), align=1)


def _each_format(builder: Any, item_bytes: Any) -> Iterator[Any]:
    """Yield float32 and float64, each within the branch that is taken for it."""
    for element, size_bytes in ((_F32, 4), (_F64, 8)):
        with builder.if_then(builder.icmp_signed("==", item_bytes, ir.Constant(_I64, size_bytes))):
            yield element


def _each_group(context: Any, builder: Any, count: Any, address: Any, elements: int) -> Iterator[Any]:
    """Yield, within a loop over groups, the number of elements that are before one, and its two vectors of lanes."""
    group, keys = address
    stream = cipher(context, builder, keys)
    with cgutils.for_range(builder, count) as loop:
        lanes = emit_groups(builder, stream, builder.add(group, loop.index))[0]
        yield builder.mul(loop.index, ir.Constant(_I64, elements)), lanes


def _place(builder: Any, base: Any, elements: Any, element: Any) -> Any:
    size_bytes = ir.Constant(_I64, 4 if element == _F32 else 8)
    return builder.add(base, builder.mul(elements, size_bytes))


def _times(builder: Any, x: Any, factor: Any) -> Any:
    """Emit x * factor in the wider of the two formats, rounded to that of x."""
    if x.type == factor.type:
        return builder.fmul(x, factor)
    if factor.type == FLOATS:
        return builder.fmul(x, builder.fpext(factor, DOUBLES))
    return builder.fptrunc(builder.fmul(builder.fpext(x, DOUBLES), factor), FLOATS)


def _emit_scaled(
    context: Any, builder: Any, arrays: Any, address: Any, factors: Callable[[Any, Any], tuple[Any, Any]]
) -> None:
    """Emit y = x * factor for whole groups of 32; ``factors`` makes two vectors of factors from two of draws."""
    item_bytes, x, y, count = arrays
    for element in _each_format(builder, item_bytes):
        vector = ir.VectorType(element, LANES)
        for begin, lanes in _each_group(context, builder, count, address, GROUP_WORDS):
            for i, factor in enumerate(factors(*(builder.bitcast(half, WORDS) for half in lanes))):
                elements = builder.add(begin, ir.Constant(_I64, i * LANES))
                value = _load(builder, vector, _place(builder, x, elements, element))
                _store(builder, _times(builder, value, factor), _place(builder, y, elements, element))


@emits(types.void(*_ARRAYS, types.float64, types.float64, types.float64, types.int64, *ADDRESS))
def _affine_groups(context: Any, builder: Any, *arguments: Any) -> None:
    item_bytes, x, y, count, factor, shift, dropped, threshold, *address = arguments
    limit = splat(builder, builder.trunc(threshold, _I16), _PIECE)
    for element in _each_format(builder, item_bytes):
        numbers = [
            splat(builder, builder.fptrunc(one, _F32) if element == _F32 else one, _PIECE)
            for one in (factor, shift, dropped)
        ]
        vector = ir.VectorType(element, _PIECE)
        for begin, lanes in _each_group(context, builder, count, address, GROUP_ELEMENTS):
            for i, half in enumerate(lanes):
                keep = builder.icmp_unsigned(">=", builder.bitcast(half, ir.VectorType(_I16, _PIECE)), limit)
                elements = builder.add(begin, ir.Constant(_I64, i * _PIECE))
                value = _load(builder, vector, _place(builder, x, elements, element))
                kept = builder.fadd(builder.fmul(value, numbers[0]), numbers[1])
                _store(builder, builder.select(keep, kept, numbers[2]), _place(builder, y, elements, element))


@emits(types.void(*_ARRAYS, types.float64, *ADDRESS))
def _gaussian_groups(context: Any, builder: Any, *arguments: Any) -> None:
    *arrays, deviation, group, keys = arguments

    def factors(radius_draws: Any, angle_draws: Any) -> tuple[Any, Any]:
        sigma = splat(builder, builder.fptrunc(deviation, _F32), LANES)
        one, other = (
            builder.fadd(builder.fmul(normal, sigma), constant(FLOATS, 1.0))
            for normal in emit_normals(builder, radius_draws, angle_draws)
        )
        return one, other

    _emit_scaled(context, builder, arrays, (group, keys), factors)


def _emit_concrete(builder: Any, draws: Any, odds: Any, inverse_temperature: Any) -> tuple[Any, Any]:
    """Emit z and 1 - z: exp(v) and 1 over 1 + exp(v), with v = log(odds u / (1 - u)) / temperature."""
    one = constant(DOUBLES, 1.0)
    u = builder.fadd(builder.uitofp(draws, DOUBLES), constant(DOUBLES, 0.5))
    u = builder.fmul(u, constant(DOUBLES, 2.0**-32))
    ratio = builder.fmul(builder.fdiv(u, builder.fsub(one, u)), splat(builder, odds, LANES))
    ratio = _clamped(builder, ratio, 2.0**-1022, 2.0**1023)  # the logarithm is one of normal numbers
    v = builder.fmul(emit_log(builder, ratio), splat(builder, inverse_temperature, LANES))
    power = emit_exp(builder, _clamped(builder, v, -_LARGEST_EXPONENT, _LARGEST_EXPONENT))
    kept = builder.fdiv(one, builder.fadd(one, power))
    return builder.fmul(power, kept), kept


def _clamped(builder: Any, value: Any, low: float, high: float) -> Any:
    least, most = constant(DOUBLES, low), constant(DOUBLES, high)
    value = builder.select(builder.fcmp_ordered(">", value, least), value, least)
    return builder.select(builder.fcmp_ordered("<", value, most), value, most)


@emits(types.void(*_ARRAYS, types.float64, types.float64, types.float64, *ADDRESS))
def _concrete_groups(context: Any, builder: Any, *arguments: Any) -> None:
    *arrays, odds, inverse_temperature, inverse_keep_prob, group, keys = arguments

    def factors(*draws: Any) -> tuple[Any, Any]:
        scale = splat(builder, inverse_keep_prob, LANES)
        one, other = (
            builder.fmul(_emit_concrete(builder, half, odds, inverse_temperature)[1], scale) for half in draws
        )
        return one, other

    _emit_scaled(context, builder, arrays, (group, keys), factors)


@emits(
    types.void(
        *_ARRAYS,
        types.int64,
        types.int64,
        types.float64,
        types.float64,
        types.float64,
        types.float64,
        *ADDRESS,
    )
)
def _concrete_backward_groups(context: Any, builder: Any, *arguments: Any) -> None:
    """Write grad_input, and add to 16 sums grad_output * x * factor * (1 - z / (temperature rate))."""
    item_bytes, grad_output, grad_input, count, x, sums, *numbers, group, keys = arguments
    odds, inverse_temperature, inverse_keep_prob, inverse_slope = numbers
    one = constant(DOUBLES, 1.0)
    for element in _each_format(builder, item_bytes):
        vector = ir.VectorType(element, LANES)
        scale, slope = splat(builder, inverse_keep_prob, LANES), splat(builder, inverse_slope, LANES)
        total = cgutils.alloca_once_value(builder, _load(builder, DOUBLES, sums))
        for begin, lanes in _each_group(context, builder, count, (group, keys), GROUP_WORDS):
            for i, half in enumerate(lanes):
                z, kept = _emit_concrete(builder, builder.bitcast(half, WORDS), odds, inverse_temperature)
                factor = builder.fmul(kept, scale)
                elements = builder.add(begin, ir.Constant(_I64, i * LANES))
                gradient, value = (
                    _load(builder, vector, _place(builder, base, elements, element)) for base in (grad_output, x)
                )
                _store(builder, _times(builder, gradient, factor), _place(builder, grad_input, elements, element))
                if element == _F32:
                    gradient, value = builder.fpext(gradient, DOUBLES), builder.fpext(value, DOUBLES)
                weight = builder.fmul(factor, builder.fsub(one, builder.fmul(z, slope)))
                term = builder.fmul(builder.fmul(gradient, value), weight)
                builder.store(builder.fadd(builder.load(total), term), total)
        _store(builder, builder.load(total), sums)


@jit
def affine_by_stream(arguments: int, start: int, stop: int) -> None:
    """Write x * factor + shift where the stream keeps and ``dropped`` elsewhere; ``start`` begins a group."""
    item_bytes, x, y, factor, shift, dropped, threshold, offset, seed = _unpack_affine_by_stream(arguments)
    keys = keyed(room(), offset, seed)
    first, whole = np.uint64(start // GROUP_ELEMENTS), (stop - start) // GROUP_ELEMENTS
    x += start * item_bytes
    y += start * item_bytes
    _affine_groups(item_bytes, x, y, whole, factor, shift, dropped, threshold, first, keys)
    size_bytes = (stop - start - whole * GROUP_ELEMENTS) * item_bytes
    if size_bytes:
        place, skip = room(), whole * GROUP_ELEMENTS * item_bytes
        last = first + np.uint64(whole)
        copy_bytes(place, x + skip, size_bytes)
        _affine_groups(item_bytes, place, place, 1, factor, shift, dropped, threshold, last, keys)
        copy_bytes(y + skip, place, size_bytes)


@jit
def gaussian(arguments: int, start: int, stop: int) -> None:
    """Write x * (1 + deviation * normal); ``start`` begins a group."""
    item_bytes, x, y, deviation, offset, seed = _unpack_gaussian(arguments)
    keys = keyed(room(), offset, seed)
    first, whole = np.uint64(start // GROUP_WORDS), (stop - start) // GROUP_WORDS
    x += start * item_bytes
    y += start * item_bytes
    _gaussian_groups(item_bytes, x, y, whole, deviation, first, keys)
    size_bytes = (stop - start - whole * GROUP_WORDS) * item_bytes
    if size_bytes:
        place, skip = room(), whole * GROUP_WORDS * item_bytes
        copy_bytes(place, x + skip, size_bytes)
        _gaussian_groups(item_bytes, place, place, 1, deviation, first + np.uint64(whole), keys)
        copy_bytes(y + skip, place, size_bytes)


@jit
def concrete(arguments: int, start: int, stop: int) -> None:
    """Write x * (1 - z) / keep_prob; ``start`` begins a group."""
    item_bytes, x, y, odds, sharpness, scale, offset, seed = _unpack_concrete(arguments)
    keys = keyed(room(), offset, seed)
    first, whole = np.uint64(start // GROUP_WORDS), (stop - start) // GROUP_WORDS
    x += start * item_bytes
    y += start * item_bytes
    _concrete_groups(item_bytes, x, y, whole, odds, sharpness, scale, first, keys)
    size_bytes = (stop - start - whole * GROUP_WORDS) * item_bytes
    if size_bytes:
        place, skip = room(), whole * GROUP_WORDS * item_bytes
        copy_bytes(place, x + skip, size_bytes)
        _concrete_groups(item_bytes, place, place, 1, odds, sharpness, scale, first + np.uint64(whole), keys)
        copy_bytes(y + skip, place, size_bytes)


@jit
def concrete_backward(arguments: int, start: int, stop: int) -> None:
    """Write the gradient of `concrete` by its input, and sum the terms of that by the rate; ``start`` begins a sum."""
    packed = _unpack_concrete_backward(arguments)
    item_bytes, grad_output, x, grad_input, sums, odds, sharpness, scale, slope, offset, seed = packed
    keys = keyed(room(), offset, seed)
    place = room()  # its zeros past the end add nothing to the sums, and only the last part has an end
    other = place + ROOM_BYTES // 2
    for begin in range(start, stop, SUM_ELEMENTS):
        size = min(SUM_ELEMENTS, stop - begin)
        whole = size // GROUP_WORDS
        first, skip = np.uint64(begin // GROUP_WORDS), begin * item_bytes
        total = sums + begin // SUM_ELEMENTS * LANES * 8
        _concrete_backward_groups(
            item_bytes, grad_output + skip, grad_input + skip, whole, x + skip, total,
            odds, sharpness, scale, slope, first, keys,
        )  # fmt: skip
        size_bytes = (size - whole * GROUP_WORDS) * item_bytes
        if size_bytes:
            skip += whole * GROUP_WORDS * item_bytes
            copy_bytes(place, grad_output + skip, size_bytes)
            copy_bytes(other, x + skip, size_bytes)
            _concrete_backward_groups(
                item_bytes, place, place, 1, other, total,
                odds, sharpness, scale, slope, first + np.uint64(whole), keys,
            )  # fmt: skip
            copy_bytes(grad_input + skip, place, size_bytes)


@jit
def _affine_run(  # noqa: PLR0917 - compiled code takes its arguments by position
    x: NDArray[np.floating],
    y: NDArray[np.floating],
    mask: NDArray[np.uint8],
    factor: float,
    shift: float,
    dropped: float,
) -> None:
    a, b, c = x.dtype.type(factor), x.dtype.type(shift), x.dtype.type(dropped)
    for i in range(x.size):
        y[i] = x[i] * a + b if mask[i] else c


@jit
def _affine_rows(  # noqa: PLR0917 - as above
    x: NDArray[np.floating],
    y: NDArray[np.floating],
    mask: NDArray[np.uint8],
    length: int,
    start: int,
    stop: int,
    factor: float,
    shift: float,
    dropped: float,
) -> None:
    a, b, c = x.dtype.type(factor), x.dtype.type(shift), x.dtype.type(dropped)
    while start < stop:
        row = start // length
        end = min(stop, (row + 1) * length)
        if mask[row]:
            source, target = x[start:end], y[start:end]
            for i in range(end - start):
                target[i] = source[i] * a + b
        else:
            y[start:end] = c
        start = end


@jit
def affine_by_mask(arguments: int, start: int, stop: int) -> None:
    """Write x * factor + shift where the mask is set and ``dropped`` elsewhere; ``length`` elements share a flag."""
    item_bytes, x, y, factor, shift, dropped, mask, length = _unpack_affine_by_mask(arguments)
    flags = carray(bytes_at(mask), (stop - 1) // length + 1)
    if item_bytes == _FLOAT_BYTES:
        x32, y32 = carray(_floats_at(x), stop), carray(_floats_at(y), stop)
        if length == 1:
            _affine_run(x32[start:], y32[start:], flags[start:], factor, shift, dropped)
        else:
            _affine_rows(x32, y32, flags, length, start, stop, factor, shift, dropped)
    else:
        x64, y64 = carray(_doubles_at(x), stop), carray(_doubles_at(y), stop)
        if length == 1:
            _affine_run(x64[start:], y64[start:], flags[start:], factor, shift, dropped)
        else:
            _affine_rows(x64, y64, flags, length, start, stop, factor, shift, dropped)
