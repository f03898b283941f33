"""The header of an npy file (NEP 1), versions 1 to 3, as a stranger wrote it: read, and never believed.

NumPy's own reader takes two of the versions, warns of what Python 2 wrote, and lets errors of Python's tokenizer out.
Nothing here unpickles: loading a pickled array runs code.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import IO, Any, Final

import numpy as np

from dropout_service.errors import InvalidInputError

__all__ = ["MAX_HEADER_BYTES", "NpyHeader", "read_npy_header"]

MAX_HEADER_BYTES: Final = 10_000
"""NumPy's own limit: headers are Python literals, which are slow to parse."""

_MAGIC: Final = b"\x93NUMPY"
_LONG: Final = re.compile(r"(?<=\d)L\b")
"""Python 2 wrote long integers so."""


@dataclass(frozen=True, slots=True)
class NpyHeader:
    """What an npy file says of its array.

    Parameters
    ----------
    dtype, shape
        As declared; sizes are 0 or more, and nothing says that so many elements follow.
    order
        ``C`` or ``F``.
    size_bytes
        Where the elements begin.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    order: str
    size_bytes: int


def read_npy_header(file: IO[bytes], what: str) -> NpyHeader:
    """Read the header from the beginning of a file, which is then at the first element.

    Parameters
    ----------
    file
        The file.
    what
        What it is called in faults.

    Raises
    ------
    InvalidInputError
        It is no npy file, is cut short, or holds structures or pickled objects.
    """
    begin = file.read(8)
    if begin[:6] != _MAGIC:
        raise _invalid(what, "it is not an npy file, which begins with \\x93NUMPY")
    version = tuple(begin[6:])
    if len(version) == 2 and (version[0] not in {1, 2, 3} or version[1]):  # noqa: PLR2004 - major and minor
        raise _invalid(what, f"npy version {version[0]}.{version[1]} is unknown; send 1.0, 2.0 or 3.0")
    length_size = 2 if version[:1] == (1,) else 4
    field = file.read(length_size)
    if len(field) < length_size:
        raise _invalid(what, f"it is cut short: it ends after {len(begin) + len(field)} bytes")
    length = int.from_bytes(field, "little")
    if length > MAX_HEADER_BYTES:
        raise _invalid(what, f"its header declares {length:,} bytes; at most {MAX_HEADER_BYTES:,} are read")
    text = file.read(length)
    if len(text) < length:
        raise _invalid(what, f"it is cut short: its header needs {length:,} bytes, {len(text):,} are there")
    descr, fortran, shape = _parsed(text, what)
    return NpyHeader(_dtype(descr, what), shape, "F" if fortran else "C", len(begin) + length_size + length)


def _parsed(text: bytes, what: str) -> tuple[Any, bool, tuple[int, ...]]:
    try:
        literal = text.decode()
        fields = ast.literal_eval(_LONG.sub("", literal) if "L" in literal else literal)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):  # TypeError: a list as a key
        fields = None
    match fields:
        case {"descr": descr, "fortran_order": bool(fortran), "shape": tuple(shape)} if len(fields) == 3 and all(  # noqa: PLR2004 - these three
            type(size) is int and size >= 0 for size in shape
        ):
            return descr, fortran, shape
        case _:
            raise _invalid(
                what,
                "its header is not understood; it should be {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)} "
                "with sizes of 0 or more",
            )


def _dtype(descr: Any, what: str) -> np.dtype[Any]:
    if not isinstance(descr, str):
        raise InvalidInputError(f"{what} holds a structured dtype; send plain numbers, such as '<f4'")
    try:
        dtype = np.dtype(descr)
    except (TypeError, ValueError, SyntaxError):
        raise _invalid(what, f"{descr[:40]!r} is no dtype; send numbers, such as '<f4'") from None
    if dtype.hasobject:
        raise InvalidInputError(
            f"{what} holds pickled Python objects, which are never loaded; save numbers or text, "
            "for example with `array.astype(float)`"
        )
    return dtype


def _invalid(what: str, message: str) -> InvalidInputError:
    return InvalidInputError(f"{what} is not a valid npy array: {message}")
