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
from dropout_service.kernels.codegen.intrinsics import emits, splat
from dropout_service.kernels.codegen.vectors import (
    FLOAT,
    FLOAT_BYTES,
    I32,
    I64,
    LANES,
    VECTOR,
    WIDE,
    ZEROS,
    call_named,
    lanes_below,
    load,
    number,
    places_of,
    store,
)
from dropout_service.kernels.training.views import address

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["ROOM_BYTES", "multiply", "side_by_side", "sum_of_squares"]

_ROWS: Final = 8 if WIDE else 6
"""Rows of a tile: with two vectors each, as many sums as the registers hold beside what is read."""
_COLUMNS: Final = 2 * LANES
_DEPTH: Final = 256
"""Terms that are summed before the next tile: so many rows of a panel stay in the first cache."""
_PACKED_FROM_BYTES: Final = 512
"""Rows of a matrix this far apart fall onto few lines of the cache, and are copied side by side first."""
_PACKED_FROM_TILES: Final = 5
"""A copy is read by so many tiles or more, or is not made."""
ROOM_BYTES: Final = _DEPTH * 2 * 16 * FLOAT_BYTES
"""Scratch space of `multiply`, whatever the CPU."""

_PARTIAL_SUMS: Final = 32


class _Product(NamedTuple):
    """A product of a tile, as values of LLVM: see `multiply`. With ``further``, it is added to what ``c`` holds.

    ``bias`` is 0 but where the last term is among these.
    """

    depth: Any
    a: Any
    a_row: Any
    a_step: Any
    b: Any
    b_step: Any
    c: Any
    c_row: Any
    bias: Any
    further: Any


@emits(types.void(*[types.int64] * 12))
def _tile(_context: Any, builder: Any, height: Any, width: Any, *product: Any) -> None:
    """Multiply ``height`` rows by ``width`` columns."""
    done, other = (builder.append_basic_block(name) for name in ("done", "other"))
    cases = builder.switch(height, other)
    for rows in range(1, _ROWS + 1):
        chosen, full, edge, two, one = (
            builder.append_basic_block(f"rows{rows}_{name}") for name in ("", "full", "edge", "two", "one")
        )
        cases.add_case(number(rows), chosen)
        builder.position_at_end(chosen)
        builder.cbranch(builder.icmp_signed("==", width, number(_COLUMNS)), full, edge)
        builder.position_at_end(edge)
        builder.cbranch(builder.icmp_signed(">", width, number(LANES)), two, one)
        for block, vectors, masked in ((full, 2, False), (two, 2, True), (one, 1, True)):
            builder.position_at_end(block)
            masks = [
                lanes_below(builder, builder.sub(width, number(i * LANES))) if masked else None for i in range(vectors)
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
        [*places_of(builder, builder.add(product.c, builder.mul(product.c_row, number(r))), len(masks))]
        for r in range(rows)
    ]
    builder.cbranch(builder.icmp_signed("!=", product.further, number(0)), goes_on, begin)
    builder.position_at_end(goes_on)
    kept = [[load(builder, at, mask) for at, mask in zip(line, masks, strict=True)] for line in targets]
    builder.branch(begin)
    builder.position_at_end(begin)
    first = [[_either(builder, (ZEROS, before), (one, goes_on)) for one in line] for line in kept]
    builder.branch(head)

    builder.position_at_end(head)
    term, a_place, b_place = (builder.phi(I64) for _ in range(3))
    sums = [[builder.phi(VECTOR) for _ in masks] for _ in range(rows)]
    builder.cbranch(builder.icmp_signed("<", term, product.depth), body, end)

    builder.position_at_end(body)
    columns = [load(builder, at, mask) for at, mask in zip(places_of(builder, b_place, len(masks)), masks, strict=True)]
    place = a_place
    for line, start in zip(sums, first, strict=True):
        factor = splat(builder, builder.load(builder.inttoptr(place, FLOAT.as_pointer()), align=FLOAT_BYTES), LANES)
        for total, at_first, column in zip(line, start, columns, strict=True):
            total.add_incoming(at_first, begin)
            fused = call_named(builder, f"llvm.fma.v{LANES}f32", VECTOR, [factor, column, total])
            total.add_incoming(fused, body)
        place = builder.add(place, product.a_row)
    steps = (
        (term, number(0), number(1)),
        (a_place, product.a, product.a_step),
        (b_place, product.b, product.b_step),
    )
    for phi, start, step in steps:
        phi.add_incoming(start, begin)
        phi.add_incoming(builder.add(phi, step), body)
    builder.branch(head)

    builder.position_at_end(end)
    with builder.if_then(builder.icmp_signed("!=", product.bias, number(0))):
        columns = [
            load(builder, at, mask)
            for at, mask in zip(places_of(builder, product.bias, len(masks)), masks, strict=True)
        ]
        moved = [[builder.fadd(total, column) for total, column in zip(line, columns, strict=True)] for line in sums]
        added = builder.block
    results = [
        [_either(builder, (total, end), (other, added)) for total, other in zip(line, others, strict=True)]
        for line, others in zip(sums, moved, strict=True)
    ]
    for line, addresses in zip(results, targets, strict=True):
        for result, at, mask in zip(line, addresses, masks, strict=True):
            store(builder, result, at, mask)


def _either(builder: Any, *incoming: tuple[Any, Any]) -> Any:
    """Return the value of the block that was come from."""
    phi = builder.phi(VECTOR)
    for value, block in incoming:
        phi.add_incoming(value, block)
    return phi


@emits(types.void(*[types.int64] * 5))
def _copy_panel(  # noqa: PLR0917 - as above
    _context: Any, builder: Any, width: Any, depth: Any, b: Any, b_step: Any, to: Any
) -> None:
    """Copy ``depth`` rows of ``width`` columns side by side, filled up with zeros to a whole panel."""
    masks = [lanes_below(builder, builder.sub(width, number(i * LANES))) for i in range(2)]
    with cgutils.for_range(builder, depth) as loop:
        origin = places_of(builder, builder.add(b, builder.mul(loop.index, b_step)), 2)
        target = places_of(builder, builder.add(to, builder.mul(loop.index, number(_COLUMNS * FLOAT_BYTES))), 2)
        for one, other, mask in zip(origin, target, masks, strict=True):
            store(builder, load(builder, one, mask), other, None)


@jit
def side_by_side() -> Any:
    """Return the stride of neighbours: not a literal, for which products of their own would be compiled."""
    return np.int64(FLOAT_BYTES)


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
    bias: int,
    further: int,
) -> None:
    _tile(height, width, depth, a, a_row, a_step, b, b_step, c, c_row, bias, further)


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
    bias: int,
    room: int,
) -> None:
    """Multiply c = a b + bias, float32 matrices by address; strides are in bytes.

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
    bias
        Address of what is added to each row at the end, float32 (columns,); 0: nothing.
    room
        Address of `ROOM_BYTES` of scratch space.
    """
    tiles = -(-rows // _ROWS)
    packs = tiles >= _PACKED_FROM_TILES and b_step >= _PACKED_FROM_BYTES
    for begin in range(0, depth, _DEPTH):
        terms = min(_DEPTH, depth - begin)
        addend = bias if begin + terms == depth else 0
        for start in range(0, columns, _COLUMNS):
            column, width = start, min(_COLUMNS, columns - start)
            if width < _COLUMNS <= columns and depth <= _DEPTH:  # some once more, to the same end: faster than masks
                column, width = columns - _COLUMNS, _COLUMNS
            panel, step = b + begin * b_step + column * FLOAT_BYTES, b_step
            if packs:
                _copy_panel(width, terms, panel, b_step, room)
                panel, step = room, _COLUMNS * FLOAT_BYTES
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
                    c + row * c_row + column * FLOAT_BYTES,
                    c_row,
                    addend + column * FLOAT_BYTES if addend else 0,
                    begin,
                )
                row += height


@emits(types.float32(types.int64, types.int64))
def _sum_of_squares(_context: Any, builder: Any, x: Any, size: Any) -> Any:
    count = _PARTIAL_SUMS // LANES
    sums = [cgutils.alloca_once_value(builder, ZEROS) for _ in range(count)]
    blocks = builder.sdiv(size, number(_PARTIAL_SUMS))

    def add(first: Any, masks: Sequence[Any]) -> None:
        place = builder.add(x, builder.mul(first, number(FLOAT_BYTES)))
        for total, at, mask in zip(sums, places_of(builder, place, count), masks, strict=True):
            value = load(builder, at, mask)
            builder.store(builder.fadd(builder.load(total), builder.fmul(value, value)), total)

    with cgutils.for_range(builder, blocks) as loop:
        add(builder.mul(loop.index, number(_PARTIAL_SUMS)), [None] * count)
    rest = builder.mul(blocks, number(_PARTIAL_SUMS))
    left = builder.sub(size, rest)
    add(rest, [lanes_below(builder, builder.sub(left, number(i * LANES))) for i in range(count)])
    result = ir.Constant(FLOAT, 0.0)
    for total in sums:
        vector = builder.load(total)
        for lane in range(LANES):
            result = builder.fadd(result, builder.extract_element(vector, ir.Constant(I32, lane)))
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
    multiply(1, 1, 1, place, FLOAT_BYTES, FLOAT_BYTES, place, FLOAT_BYTES, place, FLOAT_BYTES, place, address(room))
    sum_of_squares(x)
