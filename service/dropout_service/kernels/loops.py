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
    LANES,
    SIZES,
    WIDE,
    emit_select,
)
from dropout_service.kernels.philox import GROUP_ELEMENTS, emit_group, splat

__all__ = ["drop_by_mask", "drop_by_stream", "draw_mask"]

_I1: Final = ir.IntType(1)
_I8: Final = ir.IntType(8)
_I16: Final = ir.IntType(16)
_I32: Final = ir.IntType(32)
_I64: Final = ir.IntType(64)
_LINE_BYTES: Final = 64
_ARRAYS: Final = (types.int64, types.int64, types.int64, types.int64)  # format, x, y, count
_STREAM: Final = (types.uint64, types.uint64, types.uint64)  # group, offset, seed


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


def _emit_draw(builder: Any, threshold: Any, group: Any, offset: Any, seed: Any) -> list[Any]:
    """Emit which of a group's 64 elements are kept, draw >= threshold, as two vectors of 32 i1."""
    limit = splat(builder, builder.trunc(threshold, _I16), LANES)
    draws = ir.VectorType(_I16, LANES)
    lanes = emit_group(builder, group, offset, seed)
    return [builder.icmp_unsigned(">=", builder.bitcast(half, draws), limit) for half in lanes]


@intrinsic  # type: ignore[misc]
def _draw_keep_word(_: Any, threshold: Any, group: Any, offset: Any, seed: Any) -> Any:
    """Draw a group's keep word."""
    signature = types.uint64(types.int64, types.uint64, types.uint64, types.uint64)

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return _joined(builder, *_emit_draw(builder, *arguments))

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


def _emit_group_select(
    builder: Any, code: int, keep: list[Any], x: Any, y: Any, scale: Any, *, streaming: bool = False
) -> None:
    for i, half in enumerate(keep):
        skip = i * LANES * SIZES[code]
        places = _advance(builder, x, skip), _advance(builder, y, skip)
        emit_select(builder, code, half, *places, scale, streaming=streaming)


@intrinsic  # type: ignore[misc]
def _select(_: Any, format_: Any, keep: Any, x: Any, y: Any, scale: Any) -> Any:
    """Select 64 elements by a keep word."""
    signature = types.void(types.int64, types.uint64, types.int64, types.int64, types.float64)

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        format_, keep, *rest = arguments
        for code in range(len(SIZES)):
            with builder.if_then(builder.icmp_signed("==", format_, ir.Constant(_I64, code))):
                _emit_group_select(builder, code, _halves(builder, keep), *rest)
        return context.get_dummy_value()

    return signature, generate


@intrinsic  # type: ignore[misc]
def _drop_groups(
    _: Any,
    format_: Any,
    x: Any,
    y: Any,
    count: Any,
    threshold: Any,
    scale: Any,
    group: Any,
    offset: Any,
    seed: Any,
) -> Any:
    """Drop ``count`` whole groups, the first of which is ``group``.

    The format is a constant of each loop, so generator and selection make one straight run of vector instructions and
    the arithmetic of one group overlaps with the memory accesses of another.
    """
    signature = types.void(*_ARRAYS, types.int64, types.float64, *_STREAM)

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        format_, x, y, count, threshold, scale, group, *address = arguments
        for code in range(len(SIZES)):
            with (
                builder.if_then(builder.icmp_signed("==", format_, ir.Constant(_I64, code))),
                cgutils.for_range(builder, count) as loop,
            ):
                keep = _emit_draw(builder, threshold, builder.add(group, loop.index), *address)
                skip = builder.mul(loop.index, ir.Constant(_I64, GROUP_ELEMENTS * SIZES[code]))
                _emit_group_select(builder, code, keep, builder.add(x, skip), builder.add(y, skip), scale)
        return context.get_dummy_value()

    return signature, generate


@intrinsic  # type: ignore[misc]
def _drop_windows(
    _: Any,
    format_: Any,
    x: Any,
    y: Any,
    count: Any,
    lead: Any,
    threshold: Any,
    scale: Any,
    group: Any,
    offset: Any,
    seed: Any,
) -> Any:
    """Drop ``count`` times 64 elements past the caches, the first of which is element ``64 group + lead``.

    ``y`` is at the start of a cache line. Arrays seldom are, so a window of 64 elements takes its keep word from two groups.
    """
    signature = types.void(*_ARRAYS, types.uint64, types.int64, types.float64, *_STREAM)

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        format_, x, y, count, lead, threshold, scale, group, *address = arguments
        complement = builder.sub(ir.Constant(_I64, GROUP_ELEMENTS - 1), lead)
        for code in WIDE:
            with builder.if_then(builder.icmp_signed("==", format_, ir.Constant(_I64, code))):
                first = _joined(builder, *_emit_draw(builder, threshold, group, *address))
                before = cgutils.alloca_once_value(builder, first)
                with cgutils.for_range(builder, count) as loop:
                    following = builder.add(builder.add(group, loop.index), ir.Constant(_I64, 1))
                    after = _joined(builder, *_emit_draw(builder, threshold, following, *address))
                    # In two shifts, because one by 64 (where lead is 0) is undefined.
                    upper = builder.shl(builder.shl(after, ir.Constant(_I64, 1)), complement)
                    keep = builder.or_(builder.lshr(builder.load(before), lead), upper)
                    builder.store(after, before)
                    skip = builder.mul(loop.index, ir.Constant(_I64, GROUP_ELEMENTS * SIZES[code]))
                    places = builder.add(x, skip), builder.add(y, skip)
                    _emit_group_select(builder, code, _halves(builder, keep), *places, scale, streaming=True)
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
def _select_part(format_: int, keep: int, x: int, y: int, scale: float, size_bytes: int) -> None:
    """Select fewer than 64 elements: a vector step must not reach past the end of an array."""
    room = np.empty(GROUP_ELEMENTS, np.uint64)
    _copy(room.ctypes.data, x, size_bytes)
    _select(format_, keep, room.ctypes.data, room.ctypes.data, scale)
    _copy(y, room.ctypes.data, size_bytes)


@jit
def _drop_part(
    format_: int,
    item_bytes: int,
    x: int,
    y: int,
    begin: int,
    size: int,
    threshold: int,
    scale: float,
    group: int,
    offset: int,
    seed: int,
) -> None:
    """Drop ``size`` elements from ``begin`` on, all of one group; element 0 is the first of ``group``."""
    keep = _draw_keep_word(threshold, group + np.uint64(begin // GROUP_ELEMENTS), offset, seed)
    keep >>= np.uint64(begin % GROUP_ELEMENTS)
    skip = begin * item_bytes
    _select_part(format_, keep, x + skip, y + skip, scale, size * item_bytes)


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
    group = np.uint64(start // GROUP_ELEMENTS)
    x += start * item_bytes
    y += start * item_bytes
    size = stop - start
    done = 0
    if streaming:  # from the first whole cache line of y on; what is before it takes a step of its own
        done = min(size, (-y & (_LINE_BYTES - 1)) // item_bytes)
        _drop_part(format_, item_bytes, x, y, 0, done, threshold, scale, group, offset, seed)
        count = (size - done) // GROUP_ELEMENTS
        skip, lead = done * item_bytes, np.uint64(done)
        _drop_windows(format_, x + skip, y + skip, count, lead, threshold, scale, group, offset, seed)
    else:
        count = size // GROUP_ELEMENTS
        _drop_groups(format_, x, y, count, threshold, scale, group, offset, seed)
    done += count * GROUP_ELEMENTS
    while done < size:  # once or, where the rest lies across two groups, twice
        run = min(size - done, GROUP_ELEMENTS - done % GROUP_ELEMENTS)
        _drop_part(format_, item_bytes, x, y, done, run, threshold, scale, group, offset, seed)
        done += run


@jit
def draw_mask(mask: int, start: int, stop: int, threshold: int, seed: int, offset: int) -> None:
    """Write elements ``start .. stop - 1`` of the boolean mask itself; ``start`` is a multiple of 64."""
    first, last = start // GROUP_ELEMENTS, stop // GROUP_ELEMENTS
    for group in range(first, last):
        _write_keep_word(mask + group * GROUP_ELEMENTS, _draw_keep_word(threshold, np.uint64(group), offset, seed))
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
