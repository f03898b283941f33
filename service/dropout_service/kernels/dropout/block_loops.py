"""The compiled loop of DropBlock: seeds drawn where a block fits, and a block cleared at each.

Seeds take 32 bits each, in the order of lanes and bits of docs/mask-stream.md.
"""

from __future__ import annotations

from struct import Struct
from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import carray, types  # pyright: ignore[reportPrivateImportUsage] - it is public, as its manual has it

from dropout_service.kernels.codegen.aes import cipher
from dropout_service.kernels.codegen.compile_cache import jit
from dropout_service.kernels.codegen.intrinsics import emits, room, splat, unpacks
from dropout_service.kernels.codegen.keystream import ADDRESS, emit_groups, keyed
from dropout_service.kernels.codegen.noise_math import LANES, WORDS
from dropout_service.kernels.dropout.noise_loops import GROUP_WORDS, bytes_at

__all__ = ["DRAW_BLOCKS", "draw_blocks"]

DRAW_BLOCKS: Final = Struct("qqqqqqQQ")
"""Arguments: mask, height and width of a map and of a block, threshold of 32 bits, offset, seed."""

_I16: Final = ir.IntType(16)
_I32: Final = ir.IntType(32)
_I64: Final = ir.IntType(64)

_unpack_draw_blocks = unpacks(DRAW_BLOCKS)


@emits(types.uint32(types.int64, *ADDRESS))
def _draw_seeds(context: Any, builder: Any, threshold: Any, group: Any, keys: Any) -> Any:
    """Draw a group of 32 bits an element: bit i is set where draw i is below the threshold, which is at least 1."""
    last = builder.sub(threshold, ir.Constant(_I64, 1))  # the threshold itself may be 2^32
    limit = splat(builder, builder.trunc(last, _I32), LANES)
    halves = [
        builder.zext(builder.bitcast(builder.icmp_unsigned("<=", builder.bitcast(lanes, WORDS), limit), _I16), _I32)
        for lanes in emit_groups(builder, cipher(context, builder, keys), group)[0]
    ]
    return builder.or_(halves[0], builder.shl(halves[1], ir.Constant(_I32, LANES)))


@jit
def draw_blocks(arguments: int, start: int, stop: int) -> None:
    """Clear a block of the mask at each seed of maps ``start .. stop - 1``; the mask is set at first.

    Seeds are numbered in C order over all maps, and lie where a block fits into the map.
    """
    mask, height, width, block_height, block_width, threshold, offset, seed = _unpack_draw_blocks(arguments)
    rows, columns = height - block_height + 1, width - block_width + 1
    flags = carray(bytes_at(mask), stop * height * width)
    first, last = start * rows * columns, stop * rows * columns
    if threshold == 0:
        return
    keys = keyed(room(), offset, seed)
    for begin in range(first // GROUP_WORDS * GROUP_WORDS, last, GROUP_WORDS):
        seeds = np.int64(_draw_seeds(threshold, np.uint64(begin // GROUP_WORDS), keys))
        place = begin
        while seeds:
            if seeds & 1 and first <= place < last:
                above, column = divmod(place, columns)
                index, row = divmod(above, rows)
                corner = (index * height + row) * width + column
                for line in range(corner, corner + block_height * width, width):
                    for i in range(line, line + block_width):
                        flags[i] = 0
            seeds >>= 1
            place += 1
