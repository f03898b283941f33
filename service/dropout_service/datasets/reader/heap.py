"""How a process takes memory from the system where a table has many columns."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["suit_heap_to"]

_LONG_LINE_BYTES: Final = 2048
"""So long is the first line of some 250 columns."""
_M_MMAP_THRESHOLD: Final = -3  # of mallopt(3)
_PIECE_BYTES: Final = 1 << 17


def suit_heap_to(path: Path) -> None:
    """Let large pieces of memory come from outside the heap, and go back there, if a file of CSV has long lines.

    PyArrow reserves for each column as much as a whole block takes, and returns what is left over. In a heap, where
    glibc soon takes such pieces from, that leaves holes that the next one does not fit into: 10,000 columns took 31 GB
    of addresses. A file of few columns is read in half the time from the heap.
    """
    with path.open("rb") as file:
        has_long_lines = len(file.readline(_LONG_LINE_BYTES)) == _LONG_LINE_BYTES
    library = ctypes.CDLL(None)
    if has_long_lines and hasattr(library, "mallopt"):
        library.mallopt(_M_MMAP_THRESHOLD, _PIECE_BYTES)
