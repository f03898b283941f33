"""Named arrays with a JSON description, as the bytes of a safetensors file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors
import safetensors.numpy

from dropout_service.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["pack", "unpack"]

_COPIES = 3
"""Copies of the tensors that the library makes on the way to the bytes of a file."""


def pack(tensors: Mapping[str, NDArray[Any]], description: Mapping[str, Any]) -> bytes:
    """Return a safetensors file: ``tensors``, and ``description`` as JSON under that key of its metadata.

    The same arguments give the same bytes.
    """
    text = json.dumps(description, allow_nan=False, separators=(",", ":"))
    arrays = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    # The library aborts the process when it gets no memory: ask first, for what costs nothing until it is written to.
    np.empty(_COPIES * sum(array.nbytes for array in arrays.values()), np.uint8)
    return safetensors.numpy.save(arrays, metadata={"description": text})


def unpack(data: bytes, *, pointer: str) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read what ``pack`` wrote.

    Raises
    ------
    InvalidInputError
        Not a safetensors file, a header that does not match the bytes, or no description.
    """
    try:
        tensors = safetensors.numpy.load(data)
        # The library checked the header; its Python reader of bytes does not hand out the metadata
        header: dict[str, Any] = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        description = json.loads(header["__metadata__"]["description"])
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise InvalidInputError.at(pointer, f"not a safetensors file with a description: {error}") from error
    if not isinstance(description, dict):
        raise InvalidInputError.at(pointer, "the description is not a JSON object")
    return tensors, description
