"""``application/x-npy``: one array in NumPy's own format (NEP 1), versions 1 to 3, never with pickled objects."""

from __future__ import annotations

import ast
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dropout_service.api.arrays.base import BFLOAT16, as_array, check_float, little_endian_bytes
from dropout_service.errors import InvalidInputError, NotAcceptableError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["NPY", "decode_npy", "encode_npy"]

NPY: Final = "application/x-npy"

_MAGIC: Final = b"\x93NUMPY"
_MAX_HEADER_BYTES: Final = 10_000  # NumPy's own limit: its headers are Python literals, which are slow to parse


@dataclass(frozen=True, slots=True)
class _Header:
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    order: str
    size_bytes: int


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
    header = _read_header(body, pointer)
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


def _read_header(body: memoryview, pointer: str) -> _Header:
    if bytes(body[:6]) != _MAGIC:
        raise InvalidInputError.at(pointer, "the body is not an npy file: it does not begin with \\x93NUMPY")
    if len(body) < 12:  # noqa: PLR2004 - magic, version, and the longer of the two length fields
        raise InvalidInputError.at(pointer, f"the npy file is cut short: it ends after {len(body)} bytes")
    version = body[6]
    if version not in {1, 2, 3} or body[7] != 0:
        raise InvalidInputError.at(pointer, f"npy version {version}.{body[7]} is unknown; send 1.0, 2.0 or 3.0")
    length_size = 2 if version == 1 else 4
    begin = 8 + length_size
    length = int.from_bytes(body[8:begin], "little")
    if length > _MAX_HEADER_BYTES:
        raise InvalidInputError.at(
            pointer, f"the npy header declares {length:,} bytes; at most {_MAX_HEADER_BYTES:,} are read"
        )
    if len(body) < begin + length:
        raise InvalidInputError.at(
            pointer, f"the npy file is cut short: its header needs {begin + length:,} bytes, {len(body):,} are there"
        )
    dtype, shape, fortran = _parse_header(bytes(body[begin : begin + length]), pointer)
    return _Header(dtype, shape, "F" if fortran else "C", begin + length)


def _parse_header(text: bytes, pointer: str) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    try:
        fields = ast.literal_eval(text.decode())
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):  # TypeError: a list as a key
        fields = None
    match fields:
        case {"descr": descr, "fortran_order": bool(fortran), "shape": tuple(shape)} if len(fields) == 3 and all(  # noqa: PLR2004 - these three
            type(size) is int and size >= 0 for size in shape
        ):
            return _dtype(descr, pointer), shape, fortran
        case _:
            raise InvalidInputError.at(
                pointer,
                "the npy header is not understood; it should be {'descr': '<f4', 'fortran_order': False, "
                "'shape': (2, 3)} with sizes of 0 or more",
            )


def _dtype(descr: Any, pointer: str) -> np.dtype[Any]:
    if not isinstance(descr, str):
        raise InvalidInputError.at(pointer, "the npy file holds a structured dtype; send plain floats such as '<f4'")
    try:
        dtype = np.dtype(descr)
    except (TypeError, ValueError, SyntaxError):
        raise InvalidInputError.at(pointer, f"{descr[:40]!r} is no dtype; send floats such as '<f4'") from None
    if dtype.hasobject:
        raise InvalidInputError.at(
            pointer, "the npy file holds pickled objects, which are never loaded; send plain floats such as '<f4'"
        )
    if dtype.kind == "V":
        raise InvalidInputError.at(
            pointer,
            "the npy file holds raw bytes (NumPy writes bfloat16 so); send bfloat16 as application/vnd.safetensors",
        )
    return dtype
