"""Where the elements of arrays are."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["address"]

_read_pointer: Final = ctypes.c_void_p.from_address


def address(array: NDArray[Any]) -> int:
    """Return where the elements begin: what ``PyArray_DATA`` reads in C, a tenth of the time of ``array.ctypes``."""
    return _read_pointer(id(array) + object.__basicsize__).value or 0
