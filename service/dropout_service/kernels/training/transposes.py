"""Transposes of matrices, block by block in registers."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from dropout_service.kernels.codegen.compile_cache import jit, warms
from dropout_service.kernels.codegen.intrinsics import emits
from dropout_service.kernels.codegen.vectors import FLOAT_BYTES, I32, LANES, MASK, lanes_below, load, number, store
from dropout_service.kernels.training.views import address

__all__ = ["transpose"]


@emits(types.void(*[types.int64] * 6))
def _transpose_block(  # noqa: PLR0917 - as above
    _context: Any, builder: Any, height: Any, width: Any, x: Any, x_row: Any, out: Any, out_row: Any
) -> None:
    """Transpose a block of at most as many rows and columns as a vector has lanes."""
    whole, part, done = (builder.append_basic_block(name) for name in ("whole", "part", "done"))
    fits = builder.and_(*(builder.icmp_signed("==", size, number(LANES)) for size in (height, width)))
    builder.cbranch(fits, whole, part)
    for block, masked in ((whole, False), (part, True)):
        builder.position_at_end(block)
        columns, lines = (lanes_below(builder, size) if masked else None for size in (width, height))
        last = builder.sub(height, number(1))
        vectors: list[Any] = []
        for i in range(LANES):
            row = number(i)
            if masked:  # rows that are not there are read as the last one, and not stored
                row = builder.select(builder.icmp_signed("<", row, last), row, last)
            vectors.append(load(builder, builder.add(x, builder.mul(row, x_row)), columns))
        for i, value in enumerate(_transposed(builder, vectors)):
            mask = lines
            if masked:
                there = builder.icmp_signed("<", number(i), width)
                mask = builder.select(there, lines, ir.Constant(MASK, [0] * LANES))
            store(builder, value, builder.add(out, builder.mul(number(i), out_row)), mask)
        builder.branch(done)
    builder.position_at_end(done)


def _transposed(builder: Any, vectors: list[Any]) -> list[Any]:
    """Exchange lane numbers and vector numbers, bit after bit."""
    for bit in (1 << i for i in range(LANES.bit_length() - 1)):
        exchanged = list(vectors)
        for i in range(LANES):
            if not i & bit:
                low, high = vectors[i], vectors[i | bit]
                of_low = [lane if not lane & bit else LANES + (lane ^ bit) for lane in range(LANES)]
                of_high = [lane | bit if not lane & bit else LANES + lane for lane in range(LANES)]
                exchanged[i], exchanged[i | bit] = (
                    builder.shuffle_vector(low, high, ir.Constant(ir.VectorType(I32, LANES), lanes))
                    for lanes in (of_low, of_high)
                )
        vectors = exchanged
    return vectors


@jit
def transpose(rows: int, columns: int, x: int, x_row: int, out: int, out_row: int) -> None:  # noqa: PLR0917 - as above
    """Write the transpose of x, float32 (rows, columns), to out, (columns, rows), as for `multiply`."""
    for row in range(0, rows, LANES):
        for column in range(0, columns, LANES):
            _transpose_block(
                min(LANES, rows - row),
                min(LANES, columns - column),
                x + row * x_row + column * FLOAT_BYTES,
                x_row,
                out + column * out_row + row * FLOAT_BYTES,
                out_row,
            )


@warms
def _warm() -> None:
    place = address(np.zeros(1, np.float32))
    transpose(1, 1, place, FLOAT_BYTES, place, FLOAT_BYTES)
