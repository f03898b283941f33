"""Products of small matrices: tiles of the result that stay in registers from the first term to the last.

BLAS libraries are made for large matrices; the layers of a small network spend most of their time in what these do
before and after. Here a tile of a few rows and two vectors of columns is summed in registers, its terms read where they
lie. Every element is one chain of fused multiply-adds over the inner dimension in order: its bits depend neither on the
width of the vectors, nor on the other rows and columns, nor on threads.

Matrices are float32 and are given by address, with strides in bytes: as rows of a larger array, or transposed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from dropout_service.kernels.codegen.compile_cache import jit, warms
from dropout_service.kernels.codegen.intrinsics import cpu_has, emits, splat
from dropout_service.kernels.training.views import address

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["ROOM_BYTES", "multiply", "side_by_side", "sum_of_squares", "transpose"]

_BYTES: Final = 4
_WIDE: Final = cpu_has("avx512f")
_LANES: Final = 16 if _WIDE else 8
_ROWS: Final = 8 if _WIDE else 6
"""Rows of a tile: with two vectors each, as many sums as the registers hold beside what is read."""
_COLUMNS: Final = 2 * _LANES
_DEPTH: Final = 256
"""Terms that are summed before the next tile: so many rows of a panel stay in the first cache."""
_PACKED_FROM_BYTES: Final = 512
"""Rows of a matrix this far apart fall onto few lines of the cache, and are copied side by side first."""
_PACKED_FROM_TILES: Final = 5
"""A copy is read by so many tiles or more, or is not made."""
ROOM_BYTES: Final = _DEPTH * 2 * 16 * _BYTES
"""Scratch space of `multiply`, whatever the CPU."""

_PARTIAL_SUMS: Final = 32

_I32: Final = ir.IntType(32)
_I64: Final = ir.IntType(64)
_FLOAT: Final = ir.FloatType()
_VECTOR: Final = ir.VectorType(_FLOAT, _LANES)
_MASK: Final = ir.VectorType(ir.IntType(1), _LANES)
_ZEROS: Final = ir.Constant(_VECTOR, [0.0] * _LANES)
_LANE_NUMBERS: Final = ir.Constant(ir.VectorType(_I32, _LANES), list(range(_LANES)))


def _number(value: int) -> Any:
    return ir.Constant(_I64, value)


def _call(builder: Any, name: str, result: Any, arguments: Sequence[Any]) -> Any:
    kind = ir.FunctionType(result, [one.type for one in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


def _lanes_below(builder: Any, count: Any) -> Any:
    """Return which lanes have a number below ``count``."""
    return builder.icmp_signed("<", _LANE_NUMBERS, splat(builder, builder.trunc(count, _I32), _LANES))


def _load(builder: Any, address: Any, mask: Any) -> Any:
    """Load a vector; what a mask leaves out is not read, and 0."""
    place = builder.inttoptr(address, _VECTOR.as_pointer())
    if mask is None:
        return builder.load(place, align=_BYTES)
    name = f"llvm.masked.load.v{_LANES}f32.p0v{_LANES}f32"
    return _call(builder, name, _VECTOR, [place, ir.Constant(_I32, _BYTES), mask, _ZEROS])


def _store(builder: Any, value: Any, address: Any, mask: Any) -> None:
    place = builder.inttoptr(address, _VECTOR.as_pointer())
    if mask is None:
        builder.store(value, place, align=_BYTES)
        return
    name = f"llvm.masked.store.v{_LANES}f32.p0v{_LANES}f32"
    _call(builder, name, ir.VoidType(), [value, place, ir.Constant(_I32, _BYTES), mask])


def _vectors(builder: Any, address: Any, count: int) -> list[Any]:
    """Return the addresses of so many vectors side by side."""
    return [builder.add(address, _number(i * _LANES * _BYTES)) for i in range(count)]


class _Product(NamedTuple):
    """A product of a tile, as values of LLVM: see `multiply`. With ``further``, it is added to what ``c`` holds."""

    depth: Any
    a: Any
    a_row: Any
    a_step: Any
    b: Any
    b_step: Any
    c: Any
    c_row: Any
    further: Any


@emits(types.void(*[types.int64] * 11))
def _tile(_context: Any, builder: Any, height: Any, width: Any, *product: Any) -> None:
    """Multiply ``height`` rows by ``width`` columns."""
    done, other = (builder.append_basic_block(name) for name in ("done", "other"))
    cases = builder.switch(height, other)
    for rows in range(1, _ROWS + 1):
        chosen, full, edge, two, one = (
            builder.append_basic_block(f"rows{rows}_{name}") for name in ("", "full", "edge", "two", "one")
        )
        cases.add_case(_number(rows), chosen)
        builder.position_at_end(chosen)
        builder.cbranch(builder.icmp_signed("==", width, _number(_COLUMNS)), full, edge)
        builder.position_at_end(edge)
        builder.cbranch(builder.icmp_signed(">", width, _number(_LANES)), two, one)
        for block, vectors, masked in ((full, 2, False), (two, 2, True), (one, 1, True)):
            builder.position_at_end(block)
            masks = [
                _lanes_below(builder, builder.sub(width, _number(i * _LANES))) if masked else None
                for i in range(vectors)
            ]
            _sum_terms(builder, rows, masks, _Product(*product))
            builder.branch(done)
    builder.position_at_end(other)
    builder.branch(done)
    builder.position_at_end(done)


def _sum_terms(builder: Any, rows: int, masks: Sequence[Any], product: _Product) -> None:
    """Emit the loop over the terms of one size of tile: a vector for each row and each of ``masks``."""
    before, goes_on, begin, head, body, end = (
        builder.block,
        *(builder.append_basic_block(name) for name in ("goes_on", "begin", "head", "body", "end")),
    )
    targets = [
        [*_vectors(builder, builder.add(product.c, builder.mul(product.c_row, _number(r))), len(masks))]
        for r in range(rows)
    ]
    builder.cbranch(builder.icmp_signed("!=", product.further, _number(0)), goes_on, begin)
    builder.position_at_end(goes_on)
    kept = [[_load(builder, at, mask) for at, mask in zip(line, masks, strict=True)] for line in targets]
    builder.branch(begin)
    builder.position_at_end(begin)
    first = [[_either(builder, (_ZEROS, before), (one, goes_on)) for one in line] for line in kept]
    builder.branch(head)

    builder.position_at_end(head)
    term, a_place, b_place = (builder.phi(_I64) for _ in range(3))
    sums = [[builder.phi(_VECTOR) for _ in masks] for _ in range(rows)]
    builder.cbranch(builder.icmp_signed("<", term, product.depth), body, end)

    builder.position_at_end(body)
    columns = [_load(builder, at, mask) for at, mask in zip(_vectors(builder, b_place, len(masks)), masks, strict=True)]
    place = a_place
    for line, start in zip(sums, first, strict=True):
        factor = splat(builder, builder.load(builder.inttoptr(place, _FLOAT.as_pointer()), align=_BYTES), _LANES)
        for total, at_first, column in zip(line, start, columns, strict=True):
            total.add_incoming(at_first, begin)
            fused = _call(builder, f"llvm.fma.v{_LANES}f32", _VECTOR, [factor, column, total])
            total.add_incoming(fused, body)
        place = builder.add(place, product.a_row)
    steps = (
        (term, _number(0), _number(1)),
        (a_place, product.a, product.a_step),
        (b_place, product.b, product.b_step),
    )
    for phi, start, step in steps:
        phi.add_incoming(start, begin)
        phi.add_incoming(builder.add(phi, step), body)
    builder.branch(head)

    builder.position_at_end(end)
    for line, addresses in zip(sums, targets, strict=True):
        for total, at, mask in zip(line, addresses, masks, strict=True):
            _store(builder, total, at, mask)


def _either(builder: Any, *incoming: tuple[Any, Any]) -> Any:
    """Return the value of the block that was come from."""
    phi = builder.phi(_VECTOR)
    for value, block in incoming:
        phi.add_incoming(value, block)
    return phi


@emits(types.void(*[types.int64] * 5))
def _copy_panel(  # noqa: PLR0917 - as above
    _context: Any, builder: Any, width: Any, depth: Any, b: Any, b_step: Any, to: Any
) -> None:
    """Copy ``depth`` rows of ``width`` columns side by side, filled up with zeros to a whole panel."""
    masks = [_lanes_below(builder, builder.sub(width, _number(i * _LANES))) for i in range(2)]
    with cgutils.for_range(builder, depth) as loop:
        origin = _vectors(builder, builder.add(b, builder.mul(loop.index, b_step)), 2)
        target = _vectors(builder, builder.add(to, builder.mul(loop.index, _number(_COLUMNS * _BYTES))), 2)
        for one, other, mask in zip(origin, target, masks, strict=True):
            _store(builder, _load(builder, one, mask), other, None)


@emits(types.void(*[types.int64] * 6))
def _transpose_block(  # noqa: PLR0917 - as above
    _context: Any, builder: Any, height: Any, width: Any, x: Any, x_row: Any, out: Any, out_row: Any
) -> None:
    """Transpose a block of at most as many rows and columns as a vector has lanes."""
    whole, part, done = (builder.append_basic_block(name) for name in ("whole", "part", "done"))
    fits = builder.and_(*(builder.icmp_signed("==", size, _number(_LANES)) for size in (height, width)))
    builder.cbranch(fits, whole, part)
    for block, masked in ((whole, False), (part, True)):
        builder.position_at_end(block)
        columns, lines = (_lanes_below(builder, size) if masked else None for size in (width, height))
        last = builder.sub(height, _number(1))
        vectors: list[Any] = []
        for i in range(_LANES):
            row = _number(i)
            if masked:  # rows that are not there are read as the last one, and not stored
                row = builder.select(builder.icmp_signed("<", row, last), row, last)
            vectors.append(_load(builder, builder.add(x, builder.mul(row, x_row)), columns))
        for i, value in enumerate(_transposed(builder, vectors)):
            mask = lines
            if masked:
                there = builder.icmp_signed("<", _number(i), width)
                mask = builder.select(there, lines, ir.Constant(_MASK, [0] * _LANES))
            _store(builder, value, builder.add(out, builder.mul(_number(i), out_row)), mask)
        builder.branch(done)
    builder.position_at_end(done)


def _transposed(builder: Any, vectors: list[Any]) -> list[Any]:
    """Exchange lane numbers and vector numbers, bit after bit."""
    for bit in (1 << i for i in range(_LANES.bit_length() - 1)):
        exchanged = list(vectors)
        for i in range(_LANES):
            if not i & bit:
                low, high = vectors[i], vectors[i | bit]
                of_low = [lane if not lane & bit else _LANES + (lane ^ bit) for lane in range(_LANES)]
                of_high = [lane | bit if not lane & bit else _LANES + lane for lane in range(_LANES)]
                exchanged[i], exchanged[i | bit] = (
                    builder.shuffle_vector(low, high, ir.Constant(ir.VectorType(_I32, _LANES), lanes))
                    for lanes in (of_low, of_high)
                )
        vectors = exchanged
    return vectors


@jit
def side_by_side() -> Any:
    """Return the stride of neighbours: not a literal, for which products of their own would be compiled."""
    return np.int64(_BYTES)


@jit
def _product_of_tile(  # noqa: PLR0917 - a function of its own, so that its code is there once
    height: int,
    width: int,
    depth: int,
    a: int,
    a_row: int,
    a_step: int,
    b: int,
    b_step: int,
    c: int,
    c_row: int,
    further: int,
) -> None:
    _tile(height, width, depth, a, a_row, a_step, b, b_step, c, c_row, further)


@jit
def multiply(  # noqa: PLR0917 - a compiled kernel takes its arguments by position
    rows: int,
    columns: int,
    depth: int,
    a: int,
    a_row: int,
    a_step: int,
    b: int,
    b_step: int,
    c: int,
    c_row: int,
    room: int,
) -> None:
    """Multiply c = a b, float32 matrices by address; strides are in bytes.

    Parameters
    ----------
    rows, columns, depth
        Sizes, 1 or more: a is (rows, depth), b (depth, columns), c (rows, columns).
    a, a_row, a_step
        Address, and how far apart its rows and its columns are: of a transposed matrix ``a_row`` is 4.
    b, b_step
        Address, and how far apart its rows are; its columns lie side by side.
    c, c_row
        Address, and how far apart its rows are.
    room
        Address of `ROOM_BYTES` of scratch space.
    """
    tiles = -(-rows // _ROWS)
    packs = tiles >= _PACKED_FROM_TILES and b_step >= _PACKED_FROM_BYTES
    for begin in range(0, depth, _DEPTH):
        terms = min(_DEPTH, depth - begin)
        for start in range(0, columns, _COLUMNS):
            column, width = start, min(_COLUMNS, columns - start)
            if width < _COLUMNS <= columns and depth <= _DEPTH:  # some once more, to the same end: faster than masks
                column, width = columns - _COLUMNS, _COLUMNS
            panel, step = b + begin * b_step + column * _BYTES, b_step
            if packs:
                _copy_panel(width, terms, panel, b_step, room)
                panel, step = room, _COLUMNS * _BYTES
            row = 0
            for tile in range(tiles):
                height = -(-(rows - row) // (tiles - tile))  # about the same for all: a low one is slow
                _product_of_tile(
                    height,
                    width,
                    terms,
                    a + row * a_row + begin * a_step,
                    a_row,
                    a_step,
                    panel,
                    step,
                    c + row * c_row + column * _BYTES,
                    c_row,
                    begin,
                )
                row += height


@jit
def transpose(rows: int, columns: int, x: int, x_row: int, out: int, out_row: int) -> None:  # noqa: PLR0917 - as above
    """Write the transpose of x, float32 (rows, columns), to out, (columns, rows), as for `multiply`."""
    for row in range(0, rows, _LANES):
        for column in range(0, columns, _LANES):
            _transpose_block(
                min(_LANES, rows - row),
                min(_LANES, columns - column),
                x + row * x_row + column * _BYTES,
                x_row,
                out + column * out_row + row * _BYTES,
                out_row,
            )


@emits(types.float32(types.int64, types.int64))
def _sum_of_squares(_context: Any, builder: Any, x: Any, size: Any) -> Any:
    count = _PARTIAL_SUMS // _LANES
    sums = [cgutils.alloca_once_value(builder, _ZEROS) for _ in range(count)]
    blocks = builder.sdiv(size, _number(_PARTIAL_SUMS))

    def add(first: Any, masks: Sequence[Any]) -> None:
        place = builder.add(x, builder.mul(first, _number(_BYTES)))
        for total, at, mask in zip(sums, _vectors(builder, place, count), masks, strict=True):
            value = _load(builder, at, mask)
            builder.store(builder.fadd(builder.load(total), builder.fmul(value, value)), total)

    with cgutils.for_range(builder, blocks) as loop:
        add(builder.mul(loop.index, _number(_PARTIAL_SUMS)), [None] * count)
    rest = builder.mul(blocks, _number(_PARTIAL_SUMS))
    left = builder.sub(size, rest)
    add(rest, [_lanes_below(builder, builder.sub(left, _number(i * _LANES))) for i in range(count)])
    result = ir.Constant(_FLOAT, 0.0)
    for total in sums:
        vector = builder.load(total)
        for lane in range(_LANES):
            result = builder.fadd(result, builder.extract_element(vector, ir.Constant(_I32, lane)))
    return result


@jit
def sum_of_squares(x: NDArray[np.float32]) -> float:
    """Sum the squares of a contiguous float32 vector, as 32 sums of every 32nd, one after another at the end.

    The order is the same on every CPU.
    """
    return _sum_of_squares(address(x), x.size)


@warms
def _warm() -> None:
    x = np.zeros(1, np.float32)
    room = np.empty(ROOM_BYTES, np.uint8)
    place = address(x)
    multiply(1, 1, 1, place, _BYTES, _BYTES, place, _BYTES, place, _BYTES, address(room))
    transpose(1, 1, place, _BYTES, place, _BYTES)
    sum_of_squares(x)
