"""The stream that all draws come from: AES-128 in counter mode, in vector registers.

The stream of ``(seed, offset)`` is the keystream of AES-128-CTR under the seed as key, from the counter block
``offset * 2^64`` on, both 128-bit big-endian numbers (NIST SP 800-38A). It is a function of its place, so any part is
drawn on its own, and whatever speaks AES can draw it again: docs/mask-stream.md.

A *group* is eight blocks: 64 draws of 16 bits, or 32 of 32, which loops hold as two vectors of eight 64-bit lanes. The
bytes are in the order of the stream, on a little-endian machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from llvmlite import ir
from numba import types

from dropout_service.kernels.codegen.aes import Cipher, blocks_at_once, cipher, expand_key
from dropout_service.kernels.codegen.compile_cache import jit
from dropout_service.kernels.codegen.intrinsics import emits, room

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "ADDRESS",
    "GENERATOR",
    "GROUP_ELEMENTS",
    "GROUP_LANES",
    "batch",
    "emit_groups",
    "fill",
    "keyed",
]

GENERATOR: Final = "aes128-ctr"
"""The generator, as the versions of the streams name it."""

_GROUP_BLOCKS: Final = 8
"""Blocks in a group: two of the widest vector registers."""
GROUP_LANES: Final = 2 * _GROUP_BLOCKS
"""64-bit lanes in a group."""
GROUP_ELEMENTS: Final = 4 * GROUP_LANES
"""Mask elements in a group, 16 bits each."""

ADDRESS: Final = (types.uint64, types.int64)
"""Numba's types of what addresses a group: its number, and the place that `keyed` wrote to."""

_I32: Final = ir.IntType(32)
_I64: Final = ir.IntType(64)
_LANES: Final = ir.VectorType(_I64, GROUP_LANES // 2)


@emits(types.void(types.int64, types.uint64))
def _start_at(_context: Any, builder: Any, place: Any, offset: Any) -> None:
    """Add the upper half of the counter to the first round key, which is the first that is added to the counter."""
    first = builder.inttoptr(place, _I64.as_pointer())
    builder.store(builder.xor(builder.load(first, align=1), builder.bswap(offset)), first, align=1)


@jit
def keyed(place: int, offset: int | np.uint64, seed: int | np.uint64) -> int:
    """Write what the stream ``(seed, offset)`` is drawn with to an address, a `room` of the caller's; return it."""
    expand_key(place, 0, seed)
    _start_at(place, offset)
    return place


def emit_groups(builder: Any, stream: Cipher, group: Any, *, count: int = 1) -> list[list[Any]]:
    """Emit ``count`` consecutive groups, each as two vectors of eight 64-bit lanes.

    Parameters
    ----------
    builder
        llvmlite's IR builder.
    stream
        The `cipher` of a place that `keyed` wrote to.
    group
        The first group, an unsigned 64-bit value.
    count
        Groups worked at the same time. One round waits for the other, so several groups side by side keep the CPU busy;
        see `batch`.
    """
    width = stream.blocks
    states: list[Any] = []
    for i in range(count):
        number = builder.mul(builder.add(group, ir.Constant(_I64, i)), ir.Constant(_I64, _GROUP_BLOCKS))
        counter = builder.insert_element(
            ir.Constant(ir.VectorType(_I64, 2), [0, 0]), builder.bswap(number), ir.Constant(_I32, 1)
        )
        counters = _chosen(builder, counter, counter, [0, 1] * width)
        for block in range(0, _GROUP_BLOCKS, width):
            # The number of a group's first block ends in three zeros, and its last byte is a lane's upper one.
            within = [lane for one in range(block, block + width) for lane in (0, one << 56)]
            states.append(builder.xor(counters, ir.Constant(counters.type, within)))
    drawn = [stream.encrypt(state) for state in states]
    while len(drawn) > 2 * count:
        drawn = [
            _chosen(builder, low, high, list(range(2 * low.type.count)))
            for low, high in zip(drawn[::2], drawn[1::2], strict=True)
        ]
    return [drawn[2 * i : 2 * i + 2] for i in range(count)]


def _chosen(builder: Any, low: Any, high: Any, lanes: list[int]) -> Any:
    return builder.shuffle_vector(low, high, ir.Constant(ir.VectorType(_I32, len(lanes)), lanes))


def batch() -> int:
    """Return how many groups to emit side by side for the target CPU.

    A round has a latency of a few cycles. With AVX-512 a group is two registers, and two groups hide more of it than
    one; more were no faster. Elsewhere a group is four registers or eight already.
    """
    return 2 if blocks_at_once() == _GROUP_BLOCKS // 2 else 1


@emits(types.void(types.int64, *ADDRESS))
def _write_group(context: Any, builder: Any, lanes: Any, group: Any, keys: Any) -> None:
    for i, vector in enumerate(emit_groups(builder, cipher(context, builder, keys), group)[0]):
        place = builder.add(lanes, ir.Constant(_I64, i * GROUP_LANES // 2 * 8))
        builder.store(vector, builder.inttoptr(place, _LANES.as_pointer()), align=8)


@jit
def fill(lanes: NDArray[np.uint64], first_group: int, offset: np.uint64, seed: np.uint64) -> None:
    """Fill ``lanes``, a contiguous multiple of `GROUP_LANES`, with the stream from group ``first_group`` on.

    ``lanes.view(np.uint16)`` then holds the draws of mask elements ``GROUP_ELEMENTS * first_group`` and on, in order.
    """
    keys = keyed(room(), offset, seed)
    place = lanes.ctypes.data
    for group in range(lanes.size // GROUP_LANES):
        _write_group(place + group * GROUP_LANES * 8, first_group + group, keys)
