"""Arrays by address: views of what the caller keeps alive.

A slice counts the references to what it is a part of, which in a small network takes as long as some of the arithmetic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numba import carray, types  # pyright: ignore[reportPrivateImportUsage] - it is public, as its manual has it

from dropout_service.kernels.codegen.compile_cache import jit
from dropout_service.kernels.codegen.intrinsics import pointer_to

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["address", "doubles", "integers", "matrix", "vector"]

_EIGHT: Final = 8

_floats_at: Final = pointer_to(types.float32)
_doubles_at: Final = pointer_to(types.float64)
_integers_at: Final = pointer_to(types.int64)


@jit
def address(x: NDArray[Any]) -> Any:
    """Return where an array lies, as a signed number: with an unsigned one, sums would be floats."""
    return np.int64(x.ctypes.data)


@jit
def matrix(address: int, rows: int, columns: int) -> NDArray[np.float32]:
    """Return float32 numbers at an address as an array."""
    return carray(_floats_at(address), (rows, columns))


@jit
def vector(address: int, size: int) -> NDArray[np.float32]:
    """Return float32 numbers at an address as an array of one dimension."""
    return carray(_floats_at(address), size)


@jit
def integers(x: NDArray[np.int64], begin: int, size: int) -> NDArray[np.int64]:
    """Return ``size`` elements of a C-contiguous int64 array from the one of number ``begin`` on."""
    return carray(_integers_at(address(x) + _EIGHT * begin), size)


@jit
def doubles(x: NDArray[np.float64], begin: int, size: int) -> NDArray[np.float64]:
    """Return elements of a C-contiguous float64 array, as `integers`."""
    return carray(_doubles_at(address(x) + _EIGHT * begin), size)
