"""The safetensors format: named arrays and text metadata in one body, without pickle.

Eight bytes give the length of a JSON header (little-endian), which gives the type, shape and place of each array.
The package ``safetensors`` is not used: it reads metadata from files only, and copies what this views.
Format: https://huggingface.co/docs/safetensors/index#format
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, cast

from dropout_client.errors import UnexpectedResponseError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["MEDIA_TYPE", "decode", "encode"]

MEDIA_TYPE = "application/vnd.safetensors"

_LENGTH_BYTES = 8
_ALIGNMENT = 8
_TAGS = {
    "float16": "F16",
    "bfloat16": "BF16",
    "float32": "F32",
    "float64": "F64",
    "int8": "I8",
    "int16": "I16",
    "int32": "I32",
    "int64": "I64",
    "uint8": "U8",
    "uint16": "U16",
    "uint32": "U32",
    "uint64": "U64",
    "bool": "BOOL",
}
_NAMES = {tag: name for name, tag in _TAGS.items()}


def encode(
    arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str] | None = None
) -> tuple[bytes | memoryview, ...]:
    """Encode arrays.

    Parameters
    ----------
    arrays
        Each a NumPy array of any shape and memory order; floats (bfloat16 by ml_dtypes among them), integers, bools.
    metadata
        Text beside them.

    Returns
    -------
    tuple[bytes | memoryview, ...]
        The body in parts; those of contiguous arrays are views of them, not copies.

    Raises
    ------
    TypeError
        An array of another type, such as text or objects.
    """
    import numpy as np

    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    parts: list[memoryview] = []
    end = 0
    for name, array in arrays.items():
        if array.dtype.name not in _TAGS:
            raise TypeError(f"`{name}` has the type {array.dtype}; arrays of floats, integers or bools can be sent")
        plain = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
        # As bytes, because memoryview does not know bfloat16.
        part = plain.reshape(-1).view(np.uint8).data
        start, end = end, end + part.nbytes
        header[name] = {"dtype": _TAGS[array.dtype.name], "shape": array.shape, "data_offsets": (start, end)}
        parts.append(part)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)  # so that the arrays are aligned in memory
    return len(text).to_bytes(_LENGTH_BYTES, "little") + text, *parts


def decode(data: bytearray) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Decode a body.

    Parameters
    ----------
    data
        The body; the arrays are writable views of it.

    Returns
    -------
    tuple[dict[str, ndarray], dict[str, str]]
        The arrays and the metadata.

    Raises
    ------
    UnexpectedResponseError
        The body is not in this format, cut short, or of a type that NumPy does not have here.
    """
    try:
        length = int.from_bytes(data[:_LENGTH_BYTES], "little")
        start = _LENGTH_BYTES + length
        header = cast("dict[str, Any]", json.loads(data[_LENGTH_BYTES:start]))
        metadata = cast("dict[str, str]", header.pop("__metadata__", {}))
        return {name: _view(data, start, entry) for name, entry in header.items()}, metadata
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnexpectedResponseError(f"the answer is not a readable safetensors body: {error}") from error


def _view(data: bytearray, start: int, entry: dict[str, Any]) -> NDArray[Any]:
    import numpy as np

    dtype = _dtype(entry["dtype"])
    shape = tuple(entry["shape"])
    begin, end = entry["data_offsets"]
    if end - begin != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"the shape {shape} does not need the {end - begin} bytes given")
    return np.frombuffer(data, dtype, math.prod(shape), start + begin).reshape(shape)


def _dtype(tag: str) -> np.dtype[Any]:
    import numpy as np

    name = _NAMES[tag]
    if name == "bfloat16":
        try:
            from ml_dtypes import bfloat16
        except ImportError as error:
            raise ValueError("bfloat16 arrays need the package ml_dtypes") from error
        return np.dtype(bfloat16)
    return np.dtype(name).newbyteorder("<")
