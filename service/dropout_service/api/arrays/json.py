"""Arrays in JSON: nested lists of numbers, or ``{"dtype", "shape", "data"}`` with base64 of little-endian bytes.

JSON has no numbers for NaN and the infinities. They are the strings ``"NaN"``, ``"Infinity"`` and ``"-Infinity"``,
in requests and answers alike.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from itertools import accumulate, chain
from operator import mul
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dropout_service.api.arrays.base import FLOAT_DTYPES, MAX_DIMENSIONS, as_array, little_endian_bytes
from dropout_service.errors import InvalidInputError, pointer_to

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

__all__ = [
    "EncodedArray",
    "decode_bools",
    "decode_data",
    "decode_encoded",
    "decode_numbers",
    "encode_array",
    "nested",
    "nested_values",
    "read_encoded",
]

_NON_FINITE: Final = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
_NUMBERS: Final = frozenset({int, float})


class EncodedArray(BaseModel):
    """An array as its bytes: exact, and far smaller than a list of numbers."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    dtype: str = Field(
        description="`float16`, `bfloat16`, `float32` or `float64`; for a mask `bool` (a byte an element) or `packed` "
        "(a bit an element, the first in the lowest bit of a byte)."
    )
    shape: list[int] = Field(fail_fast=True, description="Size of each axis.")
    data: str = Field(description="Base64 of the little-endian elements in C order.")


def decode_numbers(value: Any, dtype: np.dtype[Any], pointer: str) -> NDArray[Any]:
    """Make an array of nested lists of numbers, or of one number.

    Parameters
    ----------
    value
        What JSON held.
    dtype
        Float dtype of the array.
    pointer
        Where the value stands in the body.

    Raises
    ------
    InvalidInputError
        For ragged lists, for anything but numbers and the names of the non-finite ones, and for numbers beyond the
        dtype; it points to the first fault.
    """
    wide = _decode(value, _NUMBERS, np.dtype(np.float64), pointer)
    if dtype == wide.dtype:
        return wide
    with np.errstate(over="ignore"):
        narrow = wide.astype(dtype)
    beyond = np.isinf(narrow) & np.isfinite(wide)
    if beyond.any():
        first = tuple(int(i) for i in np.argwhere(beyond)[0])
        raise InvalidInputError.at(
            pointer + pointer_to(first),
            f"{float(wide[first])} is beyond the range of {dtype.name}; use a wider `dtype`",
        )
    return narrow


def decode_bools(value: Any, pointer: str) -> NDArray[np.bool]:
    """Make a mask of nested lists of ``true`` and ``false``."""
    return _decode(value, frozenset({bool}), np.dtype(np.bool), pointer)


def decode_encoded(value: Mapping[str, Any], dtypes: Mapping[str, np.dtype[Any]], pointer: str) -> NDArray[Any]:
    """Make an array of ``{"dtype", "shape", "data"}``; read-only, for it is a view of the decoded bytes.

    Parameters
    ----------
    value
        What JSON held.
    dtypes
        The dtypes that are right here.
    pointer
        Where the value stands in the body.
    """
    encoded = read_encoded(value, pointer)
    if encoded.dtype not in dtypes:
        raise InvalidInputError.at(f"{pointer}/dtype", f"{encoded.dtype[:20]!r} should be one of {', '.join(dtypes)}")
    return as_array(decode_data(encoded, pointer), dtype=dtypes[encoded.dtype], shape=encoded.shape, pointer=pointer)


def read_encoded(value: Mapping[str, Any], pointer: str) -> EncodedArray:
    """Check the form of an encoded array."""
    try:
        encoded = EncodedArray.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        inside = "".join(f"/{step}" for step in first["loc"])
        raise InvalidInputError.at(
            f"{pointer}{inside}",
            f'{first["msg"]}; an encoded array is such as {{"dtype": "float32", "shape": [2], "data": "AACAPwAAAEA="}}',
        ) from None
    if any(size < 0 for size in encoded.shape):
        raise InvalidInputError.at(f"{pointer}/shape", "a size is negative")
    return encoded


def decode_data(encoded: EncodedArray, pointer: str) -> bytes:
    """Decode the base64 of an encoded array."""
    try:
        return b64decode(encoded.data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInputError.at(f"{pointer}/data", f"not valid base64: {error}") from None


def encode_array(array: NDArray[Any]) -> dict[str, Any]:
    """Write an array as ``{"dtype", "shape", "data"}``."""
    return {
        "dtype": array.dtype.name,
        "shape": list(array.shape),
        "data": b64encode(little_endian_bytes(array)).decode("ascii"),
    }


def nested(array: NDArray[Any]) -> Any:
    """Write an array as nested lists of Python numbers."""
    if array.dtype == FLOAT_DTYPES["bfloat16"]:
        with np.errstate(invalid="ignore"):  # a signalling NaN becomes a quiet one
            array = array.astype(np.float32)
    return array.tolist()


def nested_values(shape: Sequence[int]) -> int:
    """Count the lists and numbers that `nested` writes: beside an empty axis there may be lists without end."""
    return 1 + sum(accumulate(shape, mul))


def _decode(value: Any, leaves: frozenset[type], dtype: np.dtype[Any], pointer: str) -> NDArray[Any]:
    shape = _expected_shape(value, pointer)
    regular = _is_regular(value, shape, leaves)
    named = not regular and _check(value, shape, leaves, pointer)
    try:
        array = np.array(_with_non_finite(value) if named else value, dtype=dtype)
    except OverflowError:  # an integer that no float can hold
        array = np.array(np.inf)
    if not named and dtype.kind == "f" and not np.isfinite(array).all():
        raise InvalidInputError.at(pointer, 'a number is beyond the range of float64; infinity is "Infinity"')
    return array


def _is_regular(value: Any, shape: tuple[int, ...], leaves: frozenset[type]) -> bool:
    """Whether all lists have the lengths of the shape and all leaves an allowed type. Runs at the speed of C.

    The rare rest, which is wrong or has names of non-finite numbers, is left to the walk that finds the place.
    """
    level: Iterable[Any] = [value]
    for size in shape:
        rows: list[Any] = list(level)
        if any(kind is not list for kind in set(map(type, rows))) or any(one != size for one in set(map(len, rows))):
            return False
        level = chain.from_iterable(rows)
    return leaves.issuperset(map(type, level))


def _expected_shape(value: Any, pointer: str) -> tuple[int, ...]:
    """Follow the first entries down; every other row must have the same lengths."""
    shape: list[int] = []
    while type(value) is list:
        row = cast("list[Any]", value)
        shape.append(len(row))
        if len(shape) > MAX_DIMENSIONS:
            raise InvalidInputError.at(pointer, f"lists are nested deeper than {MAX_DIMENSIONS} levels")
        value = row[0] if row else None
    return tuple(shape)


def _check(value: Any, shape: tuple[int, ...], leaves: frozenset[type], pointer: str) -> bool:
    """Check types and lengths, pointing to the first fault; return whether names of non-finite numbers occur."""
    if not shape:
        return _check_leaf(value, leaves, pointer)
    if type(value) is not list:
        raise InvalidInputError.at(pointer, f"should be a list of {shape[0]} like the first one; got {_shown(value)}")
    row = cast("list[Any]", value)
    if len(row) != shape[0]:
        raise InvalidInputError.at(
            pointer, f"this list has {len(row)} entries where the first one has {shape[0]}; rows must have one length"
        )
    named = False
    for i, entry in enumerate(row):
        named |= _check(entry, shape[1:], leaves, f"{pointer}/{i}")
    return named


def _check_leaf(value: Any, leaves: frozenset[type], pointer: str) -> bool:
    if type(value) in leaves:
        return False
    if leaves is _NUMBERS and type(value) is str and value in _NON_FINITE:
        return True
    right = 'a number, "NaN", "Infinity" or "-Infinity"' if leaves is _NUMBERS else "true or false"
    raise InvalidInputError.at(pointer, f"should be {right}; got {_shown(value)}")


def _with_non_finite(value: Any) -> Any:
    if type(value) is list:
        return [_with_non_finite(entry) for entry in cast("list[Any]", value)]
    return _NON_FINITE[value] if type(value) is str else value


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, str):
        return f"the text {value[:20]!r}"
    return "null" if value is None else str(value).lower()
