"""Memory of arrays: where it is, and large results that are not cleared anew for every call.

A result whose memory comes fresh from the system costs more than dropout: the system clears each page when it is first
touched. C's ``malloc`` therefore keeps what is freed, but never a block of 32 MB or more, which it maps and unmaps each
time. `empty_like` keeps two of those, for a forward and a backward pass: each from when the last array on it is gone
until the next is asked for. Meanwhile the system may take its pages back, if memory is short.
docs/decisions/0010-large-results.md has the figures.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["address", "empty_like"]

_LEAST_BYTES: Final = 1 << 25
"""What ``malloc`` gives back to the system at once."""
_MOST_BYTES: Final = 1 << 27
"""No larger block is kept."""
_PAGE_BYTES: Final = 1 << 21
"""Blocks are of whole huge pages."""
_HAS_ADVICE: Final = hasattr(mmap, "MADV_HUGEPAGE") and hasattr(mmap, "MADV_FREE")

_spare: Final[deque[mmap.mmap]] = deque(maxlen=2)
_read_pointer: Final = ctypes.c_void_p.from_address


def address(array: NDArray[Any]) -> int:
    """Return where the elements begin: what ``PyArray_DATA`` reads in C, a tenth of the time of ``array.ctypes``."""
    return _read_pointer(id(array) + object.__basicsize__).value or 0


def empty_like(x: NDArray[Any]) -> NDArray[Any]:
    """Return a new C-contiguous array of x's shape and dtype, with anything in it.

    Parameters
    ----------
    x
        Any array.
    """
    if _LEAST_BYTES <= x.nbytes <= _MOST_BYTES and _HAS_ADVICE:
        with contextlib.suppress(OSError):  # no such mapping: NumPy may have room yet, or says that there is none
            lease = _Lease(_block(-(-x.nbytes // _PAGE_BYTES) * _PAGE_BYTES))
            return np.asarray(lease)[: x.nbytes].view(x.dtype).reshape(x.shape)
    return np.empty(x.shape, x.dtype)


def _block(size_bytes: int) -> mmap.mmap:
    """Return a spare block of that size, or a new one."""
    with contextlib.suppress(IndexError):
        block = _spare.pop()
        if len(block) == size_bytes:
            return block
    block = mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    block.madvise(mmap.MADV_HUGEPAGE)
    return block


class _Lease:
    """What the arrays on a block refer to: with the last of them it goes, and the block is free for another lease.

    Parameters
    ----------
    block
        The memory.
    """

    def __init__(self, block: mmap.mmap) -> None:
        self._block = block
        place = address(np.frombuffer(block, np.uint8))
        self.__array_interface__ = {"version": 3, "shape": (len(block),), "typestr": "|u1", "data": (place, False)}

    def __del__(self, spare: deque[mmap.mmap] = _spare) -> None:
        with contextlib.suppress(OSError):  # a system that has no such advice: it only keeps the pages longer
            self._block.madvise(mmap.MADV_FREE)
        spare.append(self._block)
