"""The compiled loops of dropout.

A group of 64 elements is decided by one 64-bit *keep word* (bit i set: element i is kept), drawn from the stream or
read from a mask; then 64 elements are selected by it. The kernels are what `parallel.run` calls, and unpack their
arguments themselves: addresses and plain numbers, not arrays. One specialisation serves every dtype, layout and
read-only flag, so little is compiled, and a call costs less than unpacking two arrays. `passes` owns the arrays and
answers for their bounds.
"""
# ruff: noqa: PLR0917 - compiled code takes its arguments by position

from __future__ import annotations

from struct import Struct
from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from dropout_service.kernels.codegen.aes import Cipher, cipher
from dropout_service.kernels.codegen.compile_cache import jit
from dropout_service.kernels.codegen.formats import LANES, SIZES, STREAMED, emit_select
from dropout_service.kernels.codegen.intrinsics import ROOM_BYTES, copy_bytes, emits, room, splat, unpacks
from dropout_service.kernels.codegen.keystream import ADDRESS, GROUP_ELEMENTS, batch, emit_groups, keyed

__all__ = [
    "DRAW_AND_DROP",
    "DRAW_MASK",
    "DROP_BY_MASK",
    "DROP_BY_STREAM",
    "FLAGS_AT_ONCE",
    "draw_and_drop",
    "draw_mask",
    "drop_by_mask",
    "drop_by_stream",
]

DROP_BY_STREAM: Final = Struct("qqqqqdqQQ")
"""Arguments: format, bytes of an element, whether to write past the caches, x, y, scale, threshold, offset, seed."""
DROP_BY_MASK: Final = Struct("qqqqdqqqq")
"""Arguments: format, bytes of an element, x, y, scale, the axes' number, sizes and steps, mask."""
DRAW_MASK: Final = Struct("qqQQ")
"""Arguments: mask, threshold, offset, seed."""
DRAW_AND_DROP: Final = Struct("qqqqdqqqqqQQ")
"""Arguments: format, bytes of an element, x, y, scale, the axes' number, sizes and steps, size of the mask, threshold,
offset, seed."""
FLAGS_AT_ONCE: Final = ROOM_BYTES
"""The largest mask of `draw_and_drop`."""

_I1: Final = ir.IntType(1)
_I8: Final = ir.IntType(8)
_I16: Final = ir.IntType(16)
_I32: Final = ir.IntType(32)
_I64: Final = ir.IntType(64)
_FLAGS: Final = ir.VectorType(_I8, LANES)
_LINE_BYTES: Final = 64
_WORD_BYTES: Final = 4

_unpack_drop_by_stream = unpacks(DROP_BY_STREAM)
_unpack_drop_by_mask = unpacks(DROP_BY_MASK)
_unpack_draw_mask = unpacks(DRAW_MASK)
_unpack_draw_and_drop = unpacks(DRAW_AND_DROP)

_STREAM: Final = (types.int64, *ADDRESS)  # threshold, group, keys


def _halves(builder: Any, word: Any) -> list[Any]:
    """Split a keep word into two vectors of 32 i1."""
    upper = builder.lshr(word, ir.Constant(_I64, LANES))
    return [builder.bitcast(builder.trunc(half, _I32), ir.VectorType(_I1, LANES)) for half in (word, upper)]


def _joined(builder: Any, lower: Any, upper: Any) -> Any:
    """Join two vectors of 32 i1 into a keep word."""
    low, high = (builder.zext(builder.bitcast(half, _I32), _I64) for half in (lower, upper))
    return builder.or_(low, builder.shl(high, ir.Constant(_I64, LANES)))


def _plus(builder: Any, value: Any, constant: int) -> Any:
    return builder.add(value, ir.Constant(_I64, constant))


def _when(builder: Any, format_: Any, code: int) -> Any:
    return builder.if_then(builder.icmp_signed("==", format_, ir.Constant(_I64, code)))


def _emit_draws(builder: Any, threshold: Any, stream: Cipher, group: Any, *, count: int = 1) -> list[list[Any]]:
    """Emit which elements of ``count`` groups are kept, draw >= threshold, as two vectors of 32 i1 each."""
    limit = splat(builder, builder.trunc(threshold, _I16), LANES)
    draws = ir.VectorType(_I16, LANES)
    return [
        [builder.icmp_unsigned(">=", builder.bitcast(half, draws), limit) for half in lanes]
        for lanes in emit_groups(builder, stream, group, count=count)
    ]


def _emit_selects(
    builder: Any, code: int, keep: list[Any], x: Any, y: Any, scale: Any, *, streaming: bool = False
) -> None:
    """Emit the selection of a group's 64 elements."""
    for i, half in enumerate(keep):
        skip = i * LANES * SIZES[code]
        emit_select(builder, code, half, _plus(builder, x, skip), _plus(builder, y, skip), scale, streaming=streaming)


@emits(types.uint64(*_STREAM))
def _draw_keep_word(context: Any, builder: Any, threshold: Any, group: Any, keys: Any) -> Any:
    return _joined(builder, *_emit_draws(builder, threshold, cipher(context, builder, keys), group)[0])


@emits(types.uint64(types.int64))
def _read_keep_word(_context: Any, builder: Any, mask: Any) -> Any:
    """Read 64 bytes of a boolean mask."""
    kept: list[Any] = []
    for skip in (0, LANES):
        flags = builder.load(builder.inttoptr(_plus(builder, mask, skip), _FLAGS.as_pointer()), align=1)
        kept.append(builder.icmp_unsigned("!=", flags, ir.Constant(_FLAGS, [0] * LANES)))
    return _joined(builder, *kept)


@emits(types.void(types.int64, types.uint64))
def _write_keep_word(_context: Any, builder: Any, mask: Any, keep: Any) -> None:
    """Write 64 bytes of a boolean mask."""
    for i, half in enumerate(_halves(builder, keep)):
        place = builder.inttoptr(_plus(builder, mask, i * LANES), _FLAGS.as_pointer())
        builder.store(builder.zext(half, _FLAGS), place, align=1)


@emits(types.void(types.int64, types.uint64, types.int64, types.int64, types.float64))
def _select(_context: Any, builder: Any, format_: Any, keep: Any, x: Any, y: Any, scale: Any) -> None:
    """Select 64 elements by a keep word."""
    for code in range(len(SIZES)):
        with _when(builder, format_, code):
            _emit_selects(builder, code, _halves(builder, keep), x, y, scale)


def _abreast(code: int) -> int:
    """Return the groups of one iteration; float64 is bound by memory, so more code would not help."""
    return batch() if SIZES[code] <= _WORD_BYTES else 1


@emits(types.int64(types.int64, types.int64, types.int64, types.int64, types.float64, *_STREAM))
def _drop_groups(
    context: Any,
    builder: Any,
    format_: Any,
    x: Any,
    y: Any,
    count: Any,
    scale: Any,
    threshold: Any,
    group: Any,
    keys: Any,
) -> Any:
    """Drop up to ``count`` whole groups from ``group`` on; return how many.

    The format is a constant of each loop, so generator and selection make one straight run of vector instructions, and
    the arithmetic of one group overlaps with the memory accesses of another.
    """
    dropped = cgutils.alloca_once_value(builder, ir.Constant(_I64, 0))
    for code, size_bytes in enumerate(SIZES):
        abreast = _abreast(code)
        step = ir.Constant(_I64, abreast)
        with _when(builder, format_, code):
            whole = builder.mul(builder.sdiv(count, step), step)
            builder.store(whole, dropped)
            stream = cipher(context, builder, keys)
            with cgutils.for_range_slice(builder, ir.Constant(_I64, 0), whole, step) as (index, _):
                draws = _emit_draws(builder, threshold, stream, builder.add(group, index), count=abreast)
                begin = builder.mul(index, ir.Constant(_I64, GROUP_ELEMENTS * size_bytes))
                for i, keep in enumerate(draws):
                    skip = _plus(builder, begin, i * GROUP_ELEMENTS * size_bytes)
                    _emit_selects(builder, code, keep, builder.add(x, skip), builder.add(y, skip), scale)
    return builder.load(dropped)


@emits(types.int64(types.int64, types.int64, types.int64, types.int64, types.int64, types.float64, *_STREAM))
def _drop_windows(
    context: Any,
    builder: Any,
    format_: Any,
    x: Any,
    y: Any,
    count: Any,
    lead: Any,
    scale: Any,
    threshold: Any,
    group: Any,
    keys: Any,
) -> Any:
    """Drop up to ``count`` windows past the caches, 64 elements each, from ``64 group + lead`` on; return how many.

    ``y`` is at the start of a cache line. Arrays seldom are, so a window takes its bits from two groups.
    """
    dropped = cgutils.alloca_once_value(builder, ir.Constant(_I64, 0))
    complement = builder.sub(ir.Constant(_I64, GROUP_ELEMENTS - 1), lead)
    for code in STREAMED:
        abreast = _abreast(code)
        step = ir.Constant(_I64, abreast)
        with _when(builder, format_, code):
            whole = builder.mul(builder.sdiv(count, step), step)
            builder.store(whole, dropped)
            stream = cipher(context, builder, keys)
            first = _joined(builder, *_emit_draws(builder, threshold, stream, group)[0])
            last = cgutils.alloca_once_value(builder, first)
            with cgutils.for_range_slice(builder, ir.Constant(_I64, 0), whole, step) as (index, _):
                which = _plus(builder, builder.add(group, index), 1)
                before = builder.load(last)
                draws = _emit_draws(builder, threshold, stream, which, count=abreast)
                begin = builder.mul(index, ir.Constant(_I64, GROUP_ELEMENTS * SIZES[code]))
                for i, drawn in enumerate(draws):
                    after = _joined(builder, *drawn)
                    # In two shifts, because one by 64 (where lead is 0) is undefined.
                    upper = builder.shl(builder.shl(after, ir.Constant(_I64, 1)), complement)
                    keep = _halves(builder, builder.or_(builder.lshr(before, lead), upper))
                    skip = _plus(builder, begin, i * GROUP_ELEMENTS * SIZES[code])
                    places = builder.add(x, skip), builder.add(y, skip)
                    _emit_selects(builder, code, keep, *places, scale, streaming=True)
                    before = after
                builder.store(before, last)
    return builder.load(dropped)


@emits(types.int64(types.int64))
def _read_word(_context: Any, builder: Any, address: Any) -> Any:
    return builder.load(builder.inttoptr(address, _I64.as_pointer()), align=8)


@emits(types.uint64(types.int64))
def _read_flag(_context: Any, builder: Any, flag: Any) -> Any:
    """Read one byte of a boolean mask as a keep word, for 64 elements that share it."""
    byte = builder.load(builder.inttoptr(flag, _I8.as_pointer()))
    return builder.sext(builder.icmp_unsigned("!=", byte, ir.Constant(_I8, 0)), _I64)


@jit
def _select_part(format_: int, keep: np.uint64, x: int, y: int, scale: float, size_bytes: int) -> None:
    """Select fewer than 64 elements: a vector step must not reach past the end of an array."""
    place = room()
    copy_bytes(place, x, size_bytes)
    _select(format_, keep, place, place, scale)
    copy_bytes(y, place, size_bytes)


@jit
def drop_by_stream(arguments: int, start: int, stop: int) -> None:
    """Drop elements ``start .. stop - 1`` of ``x`` into ``y`` by the stream.

    ``start`` is a multiple of 64. ``streaming`` writes past the caches; ``y`` is then aligned to its elements.
    """
    format_, item_bytes, streaming, x, y, scale, threshold, offset, seed = _unpack_drop_by_stream(arguments)
    keys = keyed(room(), offset, seed)
    group = np.uint64(start // GROUP_ELEMENTS)
    x += start * item_bytes
    y += start * item_bytes
    size = stop - start
    # Only whole cache lines are written past the caches: what is before the first of them goes the way of the rest.
    lead = min(size, (-y & (_LINE_BYTES - 1)) // item_bytes) if streaming else 0
    skip = lead * item_bytes
    count = (size - lead) // GROUP_ELEMENTS
    if streaming:
        count = _drop_windows(format_, x + skip, y + skip, count, lead, scale, threshold, group, keys)
    else:
        count = _drop_groups(format_, x, y, count, scale, threshold, group, keys)
    whole = count * GROUP_ELEMENTS
    done = 0
    while done < size:
        if done == lead:
            done += whole
        column = done % GROUP_ELEMENTS
        run = min((lead if done < lead else size) - done, GROUP_ELEMENTS - column)
        if run:
            keep = _draw_keep_word(threshold, group + np.uint64(done // GROUP_ELEMENTS), keys)
            skip = done * item_bytes
            _select_part(format_, keep >> np.uint64(column), x + skip, y + skip, scale, run * item_bytes)
        done += run


@jit
def _draw_flags(mask: int, start: int, stop: int, threshold: int, offset: int, seed: int) -> None:
    keys = keyed(room(), offset, seed)
    first, last = start // GROUP_ELEMENTS, stop // GROUP_ELEMENTS
    for group in range(first, last):
        _write_keep_word(mask + group * GROUP_ELEMENTS, _draw_keep_word(threshold, group, keys))
    rest = stop - last * GROUP_ELEMENTS
    if rest:
        place = room()
        _write_keep_word(place, _draw_keep_word(threshold, last, keys))
        copy_bytes(mask + last * GROUP_ELEMENTS, place, rest)


@jit
def draw_mask(arguments: int, start: int, stop: int) -> None:
    """Write elements ``start .. stop - 1`` of the boolean mask itself; ``start`` is a multiple of 64."""
    mask, threshold, offset, seed = _unpack_draw_mask(arguments)
    _draw_flags(mask, start, stop, threshold, offset, seed)


@jit
def _read_flags(mask: int, step: int, size: int) -> np.uint64:
    """Return a keep word of fewer than 64 flags that follow one another (``step`` 1), or are one (0)."""
    if step:
        place = room()
        copy_bytes(place, mask, size)
        keep = _read_keep_word(place)
    else:
        keep = _read_flag(mask)
    return keep & ((np.uint64(1) << np.uint64(size)) - np.uint64(1))


@jit
def _flags_of_row(mask: int, row: int, axes: int, sizes: int, steps: int) -> int:
    """Return where the flags of a row begin; a row is a run along the last axis."""
    for axis in range(8 * (axes - 2), -1, -8):
        row, index = divmod(row, _read_word(sizes + axis))
        mask += index * _read_word(steps + axis)
    return mask


@jit
def _drop_by_flags(
    start: int, stop: int, format_: int, item_bytes: int, x: int, y: int, scale: float,
    axes: int, sizes: int, steps: int, mask: int,
) -> None:  # fmt: skip
    if start == stop:
        return
    length, step = _read_word(sizes + 8 * (axes - 1)), _read_word(steps + 8 * (axes - 1))
    row, column = divmod(start, length)
    place = _flags_of_row(mask, row, axes, sizes, steps)
    position = start
    while position < stop:
        if column == length:
            row, column = row + 1, 0
            place = _flags_of_row(mask, row, axes, sizes, steps)
        whole = min(length - column, stop - position) // GROUP_ELEMENTS * GROUP_ELEMENTS
        shared = _read_flag(place)
        for i in range(0, whole, GROUP_ELEMENTS):
            keep = _read_keep_word(place + column + i) if step else shared
            begin = (position + i) * item_bytes
            _select(format_, keep, x + begin, y + begin, scale)
        column += whole
        position += whole
        size, filled, keep = min(GROUP_ELEMENTS, stop - position), 0, np.uint64(0)
        while filled < size and not (filled == 0 and column == length):
            run = min(length - column, size - filled)
            keep |= _read_flags(place + column * step, step, run) << np.uint64(filled)
            filled += run
            column += run
            if column == length and filled < size:
                row, column = row + 1, 0
                place = _flags_of_row(mask, row, axes, sizes, steps)
        if filled:
            begin = position * item_bytes
            if filled == GROUP_ELEMENTS:
                _select(format_, keep, x + begin, y + begin, scale)
            else:
                _select_part(format_, keep, x + begin, y + begin, scale, filled * item_bytes)
            position += filled


@jit
def drop_by_mask(arguments: int, start: int, stop: int) -> None:
    """Drop elements ``start .. stop - 1`` of ``x`` into ``y`` by a mask that is broadcast.

    ``steps`` is how far one step along each axis of x moves in the mask: 0 where it is broadcast. The last is 0 or 1.
    What is left of a row below 64 elements is selected together with the rows that follow: short rows cost little.
    """
    format_, item_bytes, x, y, scale, axes, sizes, steps, mask = _unpack_drop_by_mask(arguments)
    _drop_by_flags(start, stop, format_, item_bytes, x, y, scale, axes, sizes, steps, mask)


@jit
def draw_and_drop(arguments: int, start: int, stop: int) -> None:
    """Do as `drop_by_mask`, by a small mask that is drawn first: one call instead of two, and no mask to make."""
    format_, item_bytes, x, y, scale, axes, sizes, steps, size, threshold, offset, seed = _unpack_draw_and_drop(
        arguments
    )
    mask = room()
    _draw_flags(mask, 0, size, threshold, offset, seed)
    _drop_by_flags(start, stop, format_, item_bytes, x, y, scale, axes, sizes, steps, mask)
