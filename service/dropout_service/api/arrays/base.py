"""What the wire encodings of arrays have in common: their dtypes, and buffers made into arrays.

``json``, ``npy`` and ``safetensors`` read and write one form each. No reader allocates what a
body merely declares: the declared size must be that of the bytes that are there.
"""

from __future__ import annotations

import sys
from math import prod
from typing import TYPE_CHECKING, Any, Final

import ml_dtypes
import numpy as np

from dropout_service.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

__all__ = [
    "BFLOAT16",
    "FLOAT_DTYPES",
    "MAX_DIMENSIONS",
    "as_array",
    "check_float",
    "little_endian_bytes",
    "shown_shape",
]

BFLOAT16: Final = np.dtype(ml_dtypes.bfloat16)

FLOAT_DTYPES: Final[Mapping[str, np.dtype[Any]]] = {
    "float16": np.dtype("<f2"),
    "bfloat16": BFLOAT16,
    "float32": np.dtype("<f4"),
    "float64": np.dtype("<f8"),
}
"""The dtypes that dropout is computed in, by the name they have in requests."""

MAX_DIMENSIONS: Final = 32
_MAX_SIZE: Final = (1 << 63) - 1


def as_array(
    buffer: Any, *, dtype: np.dtype[Any], shape: Sequence[int], pointer: str, order: str = "C", offset: int = 0
) -> NDArray[Any]:
    """View bytes as an array of native byte order; only big-endian or unaligned bytes are copied.

    Parameters
    ----------
    buffer
        The bytes; what follows ``offset`` must be exactly the array.
    dtype, shape, order
        What the sender declared. ``order`` is ``C`` or ``F``.
    pointer
        Where the array stands in the request.
    offset
        Where it begins in the buffer.

    Raises
    ------
    InvalidInputError
        When the declared size is not the size of the bytes, or NumPy cannot hold the shape.
    """
    if len(shape) > MAX_DIMENSIONS:
        raise InvalidInputError.at(pointer, f"{len(shape)} dimensions; at most {MAX_DIMENSIONS} are supported")
    if any(size > _MAX_SIZE for size in shape):
        raise InvalidInputError.at(pointer, "a size of the shape is larger than an array can be")
    present = memoryview(buffer).nbytes - offset
    declared = prod(shape) * dtype.itemsize
    if declared != present:
        raise InvalidInputError.at(
            pointer,
            f"shape {shown_shape(shape)} of {dtype.name} takes {declared:,} bytes, but {present:,} are there",
        )
    try:
        array = np.frombuffer(buffer, dtype=dtype, offset=offset) if present else np.empty(0, dtype)
        array = array.reshape(tuple(shape), order="F" if order == "F" else "C")
    except (ValueError, OverflowError):  # sizes beside a zero may still be beyond what NumPy can index
        raise InvalidInputError.at(pointer, f"shape {shown_shape(shape)} is larger than an array can be") from None
    if not array.flags.aligned or not dtype.isnative:
        array = array.astype(dtype.newbyteorder("="))
    return array


def check_float(dtype: np.dtype[Any], pointer: str) -> None:
    """Reject what is not one of the float dtypes: dropout scales, and integers would be rounded."""
    if dtype.newbyteorder("=").name not in FLOAT_DTYPES:
        raise InvalidInputError.at(
            pointer, f"the dtype is {dtype.name}; send one of {', '.join(FLOAT_DTYPES)} (convert integers first)"
        )


def shown_shape(shape: Sequence[int]) -> str:
    """Write a shape for a reader, as JSON has it."""
    return str(list(shape))


def little_endian_bytes(array: NDArray[Any]) -> memoryview:
    """View an array's elements in C order as little-endian bytes; copied only where they are not so already."""
    contiguous = np.ascontiguousarray(array)
    if contiguous.dtype.byteorder == ">" or (contiguous.dtype.byteorder == "=" and sys.byteorder == "big"):
        contiguous = contiguous.astype(contiguous.dtype.newbyteorder("<"))
    return contiguous.reshape(-1).view(np.uint8).data
