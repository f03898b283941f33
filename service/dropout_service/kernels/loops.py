"""The compiled loops of dropout.

A group of 64 elements is decided by one 64-bit *keep word* (bit i set: element i is kept), drawn from the stream or read from
a mask; then 64 elements are selected by it. The kernels take addresses and plain numbers, not arrays: one specialisation
serves every dtype, layout and read-only flag, so little is compiled, and a call costs less than unpacking two arrays.
`dropout` owns the arrays and answers for their bounds.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from dropout_service.kernels.compile_cache import jit
from dropout_service.kernels.formats import (
    BFLOAT16,
    FLOAT16,
    FLOAT32,
    FLOAT64,
    LANES,
    SIZES,
    emit_select,
)
from dropout_service.kernels.philox import GROUP_ELEMENTS, emit_group, splat

__all__ = ["drop_by_mask", "drop_by_stream", "draw_mask"]

_I1: Final = ir.IntType(1)
_I8: Final = ir.IntType(8)
_I16: Final = ir.IntType(16)
_I32: Final = ir.IntType(32)
_I64: Final = ir.IntType(64)
_ALL: Final = np.uint64(0xFFFFFFFFFFFFFFFF)


def _halves(builder: Any, word: Any) -> list[Any]:
    """Split a keep word into two vectors of 32 i1."""
    upper = builder.lshr(word, ir.Constant(_I64, LANES))
    return [builder.bitcast(builder.trunc(half, _I32), ir.VectorType(_I1, LANES)) for half in (word, upper)]


def _joined(builder: Any, lower: Any, upper: Any) -> Any:
    """Join two vectors of 32 i1 into a keep word."""
    low, high = (builder.zext(builder.bitcast(half, _I32), _I64) for half in (lower, upper))
    return builder.or_(low, builder.shl(high, ir.Constant(_I64, LANES)))


def _advance(builder: Any, address: Any, size_bytes: int) -> Any:
    return builder.add(address, ir.Constant(_I64, size_bytes))


@intrinsic  # type: ignore[misc]
def _draw_keep_word(_: Any, threshold: Any, group: Any, offset: Any, seed: Any) -> Any:
    """Draw a group's keep word: bit i is set where draw i >= threshold."""
    signature = types.uint64(types.int64, types.uint64, types.uint64, types.uint64)

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        threshold, *address = arguments
        limit = splat(builder, builder.trunc(threshold, _I16), LANES)
        draws = ir.VectorType(_I16, LANES)
        kept = (
            builder.icmp_unsigned(">=", builder.bitcast(lanes, draws), limit) for lanes in emit_group(builder, *address)
        )
        return _joined(builder, *kept)

    return signature, generate


@intrinsic  # type: ignore[misc]
def _read_keep_word(_: Any, mask: Any) -> Any:
    """Read 64 bytes of a boolean mask as a keep word."""
    signature = types.uint64(types.int64)

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        flags = ir.VectorType(_I8, LANES)
        kept = []
        for skip in (0, LANES):
            place = builder.inttoptr(_advance(builder, arguments[0], skip), flags.as_pointer())
            loaded = builder.load(place, align=1)
            kept.append(builder.icmp_unsigned("!=", loaded, ir.Constant(flags, [0] * LANES)))
        return _joined(builder, *kept)

    return signature, generate


@intrinsic  # type: ignore[misc]
def _write_keep_word(_: Any, mask: Any, keep: Any) -> Any:
    """Write a keep word as 64 bytes of a boolean mask."""
    signature = types.void(types.int64, types.uint64)

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        mask, keep = arguments
        flags = ir.VectorType(_I8, LANES)
        for i, half in enumerate(_halves(builder, keep)):
            place = builder.inttoptr(_advance(builder, mask, i * LANES), flags.as_pointer())
            builder.store(builder.zext(half, flags), place, align=1)
        return context.get_dummy_value()

    return signature, generate


@intrinsic(prefer_literal=True)  # type: ignore[misc]
def _select_as(_: Any, format_: Any, streaming: Any, keep: Any, x: Any, y: Any, scale: Any) -> Any:
    """Select 64 elements of one format, which is a constant of the calling code."""
    signature = types.void(format_, streaming, types.uint64, types.int64, types.int64, types.float64)

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        _, _, keep, x, y, scale = arguments
        code, past_caches = format_.literal_value, bool(streaming.literal_value)
        for i, half in enumerate(_halves(builder, keep)):
            skip = i * LANES * SIZES[code]
            places = _advance(builder, x, skip), _advance(builder, y, skip)
            emit_select(builder, code, half, *places, scale, streaming=past_caches)
        return context.get_dummy_value()

    return signature, generate


@intrinsic  # type: ignore[misc]
def _copy(_: Any, target: Any, source: Any, size_bytes: Any) -> Any:
    """Copy bytes between addresses."""
    signature = types.void(types.int64, types.int64, types.int64)

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        target, source, size_bytes = arguments
        pointer = _I8.as_pointer()
        cgutils.raw_memcpy(builder, builder.inttoptr(target, pointer), builder.inttoptr(source, pointer), size_bytes, 1)
        return context.get_dummy_value()

    return signature, generate


@jit
def _select(format_: int, keep: int, x: int, y: int, scale: float) -> None:
    if format_ == FLOAT32:
        _select_as(FLOAT32, 0, keep, x, y, scale)
    elif format_ == FLOAT64:
        _select_as(FLOAT64, 0, keep, x, y, scale)
    elif format_ == FLOAT16:
        _select_as(FLOAT16, 0, keep, x, y, scale)
    else:
        _select_as(BFLOAT16, 0, keep, x, y, scale)


@jit
def _select_part(format_: int, keep: int, x: int, y: int, scale: float, size_bytes: int) -> None:
    """Select fewer than 64 elements: a vector step must not reach past the end of an array."""
    room = np.empty(GROUP_ELEMENTS, np.uint64)
    _copy(room.ctypes.data, x, size_bytes)
    _select(format_, keep, room.ctypes.data, room.ctypes.data, scale)
    _copy(y, room.ctypes.data, size_bytes)


@jit
def drop_by_stream(
    format_: int,
    item_bytes: int,
    streaming: bool,
    x: int,
    y: int,
    start: int,
    stop: int,
    threshold: int,
    scale: float,
    seed: int,
    offset: int,
) -> None:
    """Drop elements ``start .. stop - 1`` of ``x`` into ``y`` by the stream; ``start`` is a multiple of 64."""
    group_bytes = item_bytes * GROUP_ELEMENTS
    first, last = start // GROUP_ELEMENTS, stop // GROUP_ELEMENTS
    if streaming and format_ == FLOAT32:
        for group in range(first, last):
            keep = _draw_keep_word(threshold, group, offset, seed)
            _select_as(FLOAT32, 1, keep, x + group * group_bytes, y + group * group_bytes, scale)
    else:
        for group in range(first, last):
            keep = _draw_keep_word(threshold, group, offset, seed)
            _select(format_, keep, x + group * group_bytes, y + group * group_bytes, scale)
    rest = stop - last * GROUP_ELEMENTS
    if rest:
        keep = _draw_keep_word(threshold, last, offset, seed)
        _select_part(format_, keep, x + last * group_bytes, y + last * group_bytes, scale, rest * item_bytes)


@jit
def draw_mask(mask: int, start: int, stop: int, threshold: int, seed: int, offset: int) -> None:
    """Write elements ``start .. stop - 1`` of the boolean mask itself; ``start`` is a multiple of 64."""
    first, last = start // GROUP_ELEMENTS, stop // GROUP_ELEMENTS
    for group in range(first, last):
        _write_keep_word(mask + group * GROUP_ELEMENTS, _draw_keep_word(threshold, group, offset, seed))
    rest = stop - last * GROUP_ELEMENTS
    if rest:
        room = np.empty(GROUP_ELEMENTS, np.uint8)
        _write_keep_word(room.ctypes.data, _draw_keep_word(threshold, last, offset, seed))
        _copy(mask + last * GROUP_ELEMENTS, room.ctypes.data, rest)


@jit
def _drop_run(
    format_: int, item_bytes: int, x: int, y: int, size: int, mask: int, mask_step: int, scale: float
) -> None:
    """Drop a run of elements by consecutive flags (``mask_step`` 1) or by one flag for all (0)."""
    flags = np.empty(GROUP_ELEMENTS, np.uint8)
    if mask_step == 0:
        _copy(flags.ctypes.data, mask, 1)
        flags[:] = flags[0]
    whole = size // GROUP_ELEMENTS * GROUP_ELEMENTS
    for i in range(0, whole, GROUP_ELEMENTS):
        keep = _read_keep_word(mask + i if mask_step else flags.ctypes.data)
        _select(format_, keep, x + i * item_bytes, y + i * item_bytes, scale)
    rest = size - whole
    if rest:
        if mask_step:
            _copy(flags.ctypes.data, mask + whole, rest)
        keep = _read_keep_word(flags.ctypes.data)
        _select_part(format_, keep, x + whole * item_bytes, y + whole * item_bytes, scale, rest * item_bytes)


@jit
def drop_by_mask(
    format_: int,
    item_bytes: int,
    x: int,
    y: int,
    start: int,
    stop: int,
    mask: int,
    shape: Any,
    steps: Any,
    scale: float,
) -> None:
    """Drop elements ``start .. stop - 1`` of ``x`` into ``y`` by a mask that is broadcast.

    ``shape`` are the axes of x and ``steps`` how far one step along each moves in the mask (0 where it is broadcast); the last
    step is 0 or 1.
    """
    length = shape[-1]
    position = start
    while position < stop:
        rows, column = divmod(position, length)
        place = mask + column * steps[-1]
        for axis in range(shape.size - 2, -1, -1):
            rows, index = divmod(rows, shape[axis])
            place += index * steps[axis]
        run = min(length - column, stop - position)
        begin = position * item_bytes
        _drop_run(format_, item_bytes, x + begin, y + begin, run, place, steps[-1], scale)
        position += run
