"""The order of random numbers, in time that grows with their count alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from dropout_service.kernels.codegen.compile_cache import jit, warms

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["stable_order"]

_MOST_BITS: Final = 22
"""Of a bucket's number: more buckets would not fit into the caches beside what goes into them."""


def stable_order(keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return the numbers of ``keys``, (n,), in the stable order of their values.

    For keys that are spread evenly over 64 bits: they are dealt out by their upper bits to about as many buckets, each
    of which holds one or a few. Others come in the right order as well, but late.
    """
    bits = min(max(1, int(keys.size).bit_length()), _MOST_BITS)
    order = np.empty(keys.size, np.int64)
    _deal_out(keys, np.uint64(64 - bits), np.zeros((1 << bits) + 1, np.int64), order)
    return order


@jit
def _deal_out(keys: NDArray[np.uint64], shift: np.uint64, ends: NDArray[np.int64], order: NDArray[np.int64]) -> None:
    """Write the order; ``ends`` has a zero for each bucket, and one more."""
    for key in keys:
        ends[np.int64(key >> shift) + 1] += 1
    for bucket in range(1, ends.size):
        ends[bucket] += ends[bucket - 1]
    for number in range(keys.size):
        bucket = np.int64(keys[number] >> shift)
        order[ends[bucket]] = number
        ends[bucket] += 1
    # Each bucket lies between its neighbours already; what is out of order moves by a place or two
    for place in range(1, keys.size):
        number = order[place]
        key = keys[number]
        to = place
        while to > 0 and keys[order[to - 1]] > key:
            order[to] = order[to - 1]
            to -= 1
        order[to] = number


@warms
def _warm() -> None:
    stable_order(np.zeros(1, np.uint64))
