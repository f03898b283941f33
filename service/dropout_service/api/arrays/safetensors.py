"""``application/vnd.safetensors``: named arrays and metadata in one body.

The format (https://github.com/huggingface/safetensors): the length of the header in 8 bytes, the header in JSON, then
the arrays. The reader here gives views of the body, where the library's copies every array.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json, to_json

from dropout_service.api.arrays.base import BFLOAT16, as_array, little_endian_bytes, shown_shape
from dropout_service.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["SAFETENSORS", "Tensors", "decode_safetensors", "encode_safetensors"]

SAFETENSORS: Final = "application/vnd.safetensors"

_DTYPES: Final[Mapping[str, np.dtype[Any]]] = {
    "F16": np.dtype("<f2"),
    "BF16": BFLOAT16,
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
    "BOOL": np.dtype("?"),
    "U8": np.dtype("u1"),
    "I8": np.dtype("i1"),
    "I16": np.dtype("<i2"),
    "U16": np.dtype("<u2"),
    "I32": np.dtype("<i4"),
    "U32": np.dtype("<u4"),
    "I64": np.dtype("<i8"),
    "U64": np.dtype("<u8"),
}
_NAMES: Final = {dtype.name: name for name, dtype in _DTYPES.items()}
_MAX_HEADER_BYTES: Final = 1 << 20
_ALIGNMENT: Final = 8


@dataclass(frozen=True, slots=True)
class Tensors:
    """Named arrays, which may be views of the body, and the metadata beside them."""

    arrays: dict[str, NDArray[Any]]
    metadata: dict[str, str]


class _Entry(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    dtype: str
    shape: list[int] = Field(fail_fast=True)
    data_offsets: list[int] = Field(min_length=2, max_length=2)


def decode_safetensors(body: memoryview) -> Tensors:
    """Read a safetensors body.

    Raises
    ------
    InvalidInputError
        When the header lies: about its length, a dtype, a shape, or where in the body an array lies. Arrays must
        fill the body in some order, without gaps and overlaps, as the format demands.
    """
    header, begin = _read_header(body)
    metadata = _read_metadata(header.pop("__metadata__", {}))
    entries = {name: _read_entry(name, entry) for name, entry in header.items()}
    data = body[begin:]
    _check_offsets(entries, len(data))
    arrays = {name: _view(data, entry, f"/{name}") for name, entry in entries.items()}
    return Tensors(arrays, metadata)


def encode_safetensors(
    arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str] | None = None
) -> list[bytes | memoryview]:
    """Write arrays as the parts of a safetensors file, without copying their elements.

    Parameters
    ----------
    arrays
        Arrays of float, integer or bool dtypes, by name. They are written in this order.
    metadata
        Text beside them.
    """
    header: dict[str, Any] = {}
    if metadata:
        header["__metadata__"] = dict(metadata)
    end = 0
    for name, array in arrays.items():
        begin, end = end, end + array.nbytes
        header[name] = {
            "dtype": _NAMES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [begin, end],
        }
    text = to_json(header)
    text += b" " * (-len(text) % _ALIGNMENT)
    return [len(text).to_bytes(8, "little") + text, *(little_endian_bytes(array) for array in arrays.values())]


def _read_header(body: memoryview) -> tuple[dict[str, Any], int]:
    if len(body) < 8:  # noqa: PLR2004 - the length field
        raise InvalidInputError.at("", f"the safetensors body is cut short: it ends after {len(body)} bytes")
    length = int.from_bytes(body[:8], "little")
    if length > _MAX_HEADER_BYTES:
        raise InvalidInputError.at(
            "",
            f"the safetensors header declares {length:,} bytes, at most {_MAX_HEADER_BYTES:,} are read; "
            "is the body a safetensors file?",
        )
    if 8 + length > len(body):
        raise InvalidInputError.at(
            "",
            f"the safetensors header declares {length:,} bytes, but {len(body) - 8:,} follow; the body is cut short",
        )
    try:
        header = from_json(bytes(body[8 : 8 + length]), allow_inf_nan=False)
    except ValueError as error:
        raise InvalidInputError.at("", f"the safetensors header is not valid JSON: {error}") from None
    if not isinstance(header, dict):
        raise InvalidInputError.at("", "the safetensors header should be a JSON object of tensors by name")
    return header, 8 + length


def _read_metadata(metadata: Any) -> dict[str, str]:
    if not isinstance(metadata, dict) or not {str}.issuperset(map(type, cast("dict[str, Any]", metadata).values())):
        raise InvalidInputError.at("/__metadata__", 'metadata should be an object of strings, such as {"rate": "0.5"}')
    return cast("dict[str, str]", metadata)


def _read_entry(name: str, entry: Any) -> _Entry:
    try:
        # What has other names is not asked for each of them.
        read = _Entry.model_validate(entry if isinstance(entry, dict) and len(entry) == len(_Entry.model_fields) else 0)
    except ValidationError:
        raise InvalidInputError.at(
            f"/{name}",
            'the header of a tensor should be such as {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}',
        ) from None
    if read.dtype not in _DTYPES:
        raise InvalidInputError.at(f"/{name}", f"dtype {read.dtype[:20]!r} is not one of {', '.join(_DTYPES)}")
    if any(size < 0 for size in read.shape):
        raise InvalidInputError.at(f"/{name}", f"shape {shown_shape(read.shape)} has a negative size")
    return read


def _check_offsets(entries: Mapping[str, _Entry], size_bytes: int) -> None:
    at = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1].data_offsets):
        begin, end = entry.data_offsets
        if begin != at or end < begin or end > size_bytes:
            raise InvalidInputError.at(
                f"/{name}",
                f"data_offsets [{begin}, {end}] should begin at {at:,} and end within the {size_bytes:,} bytes of "
                "data: tensors fill the body without gaps and overlaps",
            )
        at = end
    if at != size_bytes:
        raise InvalidInputError.at("", f"{size_bytes - at:,} bytes follow the last tensor; none should")


def _view(data: memoryview, entry: _Entry, pointer: str) -> NDArray[Any]:
    begin, end = entry.data_offsets
    dtype = _DTYPES[entry.dtype]
    array = as_array(data[begin:end], dtype=dtype, shape=entry.shape, pointer=pointer)
    if entry.dtype == "BOOL" and array.size and array.view(np.uint8).max() > 1:
        raise InvalidInputError.at(pointer, "a BOOL tensor holds bytes other than 0 and 1")
    return array
