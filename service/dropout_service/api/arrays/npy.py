"""``application/x-npy``: one array in NumPy's own format (NEP 1), versions 1 to 3, never with pickled objects."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dropout_service.api.arrays.base import BFLOAT16, as_array, check_float, little_endian_bytes
from dropout_service.errors import InvalidInputError, NotAcceptableError
from dropout_service.npy import MAX_HEADER_BYTES, read_npy_header

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["NPY", "decode_npy", "encode_npy"]

NPY: Final = "application/x-npy"


def decode_npy(body: memoryview, pointer: str) -> NDArray[Any]:
    """Read an npy body as a float array, without copying where the bytes allow it.

    Parameters
    ----------
    body
        The whole body.
    pointer
        What the array is called in faults.

    Raises
    ------
    InvalidInputError
        When the body is no npy file, is cut short or too long, or holds something else than floats.
    """
    try:
        header = read_npy_header(io.BytesIO(body[: 2 * MAX_HEADER_BYTES]), "the body")
    except InvalidInputError as error:
        raise InvalidInputError.at(pointer, error.message) from None
    if header.dtype.kind == "V":
        raise InvalidInputError.at(
            pointer,
            "the npy file holds raw bytes (NumPy writes bfloat16 so); send bfloat16 as application/vnd.safetensors",
        )
    check_float(header.dtype, pointer)
    return as_array(
        body, dtype=header.dtype, shape=header.shape, pointer=pointer, order=header.order, offset=header.size_bytes
    )


def encode_npy(array: NDArray[Any]) -> list[bytes | memoryview]:
    """Write an array as the parts of an npy file, without copying its elements.

    Raises
    ------
    NotAcceptableError
        For bfloat16, which the format cannot name.
    """
    if array.dtype == BFLOAT16:
        raise NotAcceptableError("npy has no bfloat16; accept application/vnd.safetensors or application/json")
    head = io.BytesIO()
    description = {"descr": array.dtype.newbyteorder("<").str, "fortran_order": False, "shape": array.shape}
    np.lib.format.write_array_header_1_0(head, description)
    return [head.getvalue(), little_endian_bytes(array)]
