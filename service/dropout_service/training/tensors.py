"""Named arrays with a JSON description, as the bytes of a safetensors file."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors
import safetensors.numpy

from dropout_service import __version__
from dropout_service.errors import FieldError, InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from numpy.typing import NDArray

__all__ = ["naming_version", "pack", "unpack"]

_COPIES = 3
"""Copies of the tensors that the library makes on the way to the bytes of a file."""


def pack(tensors: Mapping[str, NDArray[Any]], description: Mapping[str, Any]) -> bytes:
    """Return a safetensors file: ``tensors``, and ``description`` as JSON under that key of its metadata.

    The metadata also say which version of the service wrote it. The same arguments give the same bytes.
    """
    text = json.dumps(description, allow_nan=False, separators=(",", ":"))
    arrays = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    # The library aborts the process when it gets no memory: ask first, for what costs nothing until it is written to.
    np.empty(_COPIES * sum(array.nbytes for array in arrays.values()), np.uint8)
    return _with_metadata(safetensors.numpy.save(arrays), {"description": text, "written_by": __version__})


def unpack(data: bytes, *, pointer: str) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read what ``pack`` wrote.

    Raises
    ------
    InvalidInputError
        Not a safetensors file, a header that does not match the bytes, or no description.
    """
    try:
        tensors = safetensors.numpy.load(data)
        description = json.loads(_metadata(data)["description"])
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise InvalidInputError.at(pointer, f"not a safetensors file with a description: {error}") from error
    if not isinstance(description, dict):
        raise InvalidInputError.at(pointer, "the description is not a JSON object")
    return tensors, description


@contextmanager
def naming_version(data: bytes) -> Generator[None]:
    """Have an error while a file is read tell which version wrote it, where that is another one."""
    try:
        yield
    except InvalidInputError as error:
        try:
            written_by = _metadata(data)["written_by"]
        except (KeyError, TypeError, ValueError, RecursionError):
            written_by = None
        if not isinstance(written_by, str) or written_by == __version__:
            raise
        told = f"; it was written by version {written_by}, this is {__version__}"
        faults = [FieldError(fault.pointer, fault.message + told) for fault in error.errors]
        raise InvalidInputError(error.message + told, errors=faults) from error


def _with_metadata(file: bytes, metadata: Mapping[str, str]) -> bytes:
    """Return a safetensors file with metadata, in order: the library writes more than one key in any."""
    begin = 8 + int.from_bytes(file[:8], "little")
    header = json.dumps({"__metadata__": metadata, **json.loads(file[8:begin])}, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return b"".join([len(header).to_bytes(8, "little"), header, memoryview(file)[begin:]])


def _metadata(data: bytes) -> dict[str, Any]:
    """Return the metadata in the header, which the library's Python reader of bytes does not hand out."""
    header: dict[str, Any] = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return header["__metadata__"]
