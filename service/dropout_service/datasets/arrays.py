"""Read ``.npy`` and ``.npz`` files from strangers: what a header declares is checked before it is believed.

Nothing here unpickles. The reason is in NumPy's own documentation: loading a pickled array runs code.
"""

from __future__ import annotations

import io
import tokenize
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Final

import numpy as np

from dropout_service.errors import InvalidInputError, TooLargeError

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["MAX_LABEL_CHARS", "NpzContent", "npz_bytes", "open_npy", "read_npz"]

MAX_LABEL_CHARS: Final = 200
_MAX_HEADER_BYTES: Final = 10_000
_NUMERIC: Final = "fiub"


@dataclass(frozen=True, slots=True)
class NpzContent:
    """The arrays of an npz: ``x`` (rows, features), ``y`` (rows,), and the names of the features."""

    x: NDArray[np.generic]
    y: NDArray[np.generic]
    feature_names: tuple[str, ...]


def open_npy(path: Path) -> NDArray[np.generic]:
    """Map a 2-D array of numbers into memory, without reading it.

    Raises
    ------
    InvalidInputError
        The file is no such array, or has another length than its header says.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        shape, fortran_order, dtype = _header(file, "the file")
        start = file.tell()
    _check_size("the file", shape, dtype, size - start)
    _check_numeric("the file", shape, dtype, dimensions=2)
    if 0 in shape:
        raise InvalidInputError(f"the array has shape {shape}; it needs at least one row and one column")
    return np.memmap(path, dtype, "r", start, shape, "F" if fortran_order else "C")


def read_npz(path: Path, *, limit_bytes: int) -> NpzContent:
    """Read the arrays ``x``, ``y`` and ``feature_names`` of an npz.

    Parameters
    ----------
    path
        The file.
    limit_bytes
        Largest size of the arrays together, unpacked: a small zip file can declare terabytes.

    Raises
    ------
    InvalidInputError
        An array is missing, has a wrong shape or type, or the zip file is damaged.
    TooLargeError
        The arrays are above the limit.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            _check_members(members)
            unpacked = sum(info.file_size for info in members.values())
            if unpacked > limit_bytes:
                raise TooLargeError(f"the arrays of the npz take {unpacked:,} bytes; at most {limit_bytes:,} fit")
            x = _read_member(archive, members["x"], "x")
            y = _read_member(archive, members["y"], "y")
            names = (
                _read_member(archive, members["feature_names"], "feature_names") if "feature_names" in members else None
            )
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise InvalidInputError(f"the npz (a zip file) cannot be read: {error}") from error
    _check_numeric("`x`", x.shape, x.dtype, dimensions=2)
    if 0 in x.shape:
        raise InvalidInputError(f"`x` has shape {x.shape}; it needs at least one row and one column")
    if y.ndim == 2 and y.shape[1] == 1:  # noqa: PLR2004 - a column, as some save it
        y = y[:, 0]
    if y.ndim != 1 or len(y) != len(x):
        raise InvalidInputError(f"`y` has shape {y.shape}; `x` has {len(x)} rows, so it must be ({len(x)},)")
    if y.dtype.kind not in _NUMERIC + "U":
        raise InvalidInputError(f"`y` has dtype {y.dtype}; use numbers, booleans or text (dtype `U`)")
    return NpzContent(x, y, _feature_names(names, x.shape[1]))


def npz_bytes(x: NDArray[np.generic], y: NDArray[np.generic]) -> memoryview:
    """Write ``x`` and ``y`` as an npz; equal arrays give equal bytes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in (("x", x), ("y", y)):
            # A ZipInfo without a date has that of 1980, the first of the format.
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, version=(1, 0), allow_pickle=False)
    return file.getbuffer()


def _check_members(members: dict[str, zipfile.ZipInfo]) -> None:
    known = {"x", "y", "feature_names"}
    if not {"x", "y"} <= members.keys() <= known:
        found = ", ".join(f"`{name[:40]}`" for name in sorted(members)[:10]) or "nothing"
        raise InvalidInputError(
            "an npz needs the arrays `x` (rows, features) and `y` (rows,), and may have `feature_names`; "
            f"this one has {found}"
        )
    if any(info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED} for info in members.values()):
        raise InvalidInputError("the npz is compressed in an unusual way; write it with `numpy.savez_compressed`")


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> NDArray[np.generic]:
    with archive.open(info) as file:
        shape, _, dtype = _header(file, f"`{name}`")
        _check_size(f"`{name}`", shape, dtype, info.file_size - file.tell())
    with archive.open(info) as file:
        return np.lib.format.read_array(file, allow_pickle=False, max_header_size=_MAX_HEADER_BYTES)


@contextmanager
def _refused(what: str) -> Generator[None]:
    try:
        yield
    except (ValueError, tokenize.TokenError) as error:  # NumPy's parser of headers lets both out
        raise InvalidInputError(f"{what} is not a valid npy array: {str(error).splitlines()[0]}") from error


def _header(file: IO[bytes], what: str) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    with _refused(what):
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            header = np.lib.format.read_array_header_1_0(file, max_header_size=_MAX_HEADER_BYTES)
        elif version == (2, 0):
            header = np.lib.format.read_array_header_2_0(file, max_header_size=_MAX_HEADER_BYTES)
        else:
            raise ValueError(f"version {version} of the format holds structured arrays; versions 1.0 and 2.0 are read")
    shape, fortran_order, dtype = header
    if dtype.hasobject:
        raise InvalidInputError(
            f"{what} holds pickled Python objects, which are never loaded; save numbers or text, "
            "for example with `array.astype(float)`"
        )
    return shape, fortran_order, dtype


def _check_size(what: str, shape: tuple[int, ...], dtype: np.dtype[np.generic], held: int) -> None:
    declared = dtype.itemsize
    for length in shape:  # Python integers: no overflow
        declared *= length
    if any(length < 0 for length in shape) or declared != held:
        raise InvalidInputError(
            f"{what} declares shape {shape} of dtype {dtype}, {declared:,} bytes, but holds {held:,}; "
            "it is cut short or damaged"
        )


def _check_numeric(what: str, shape: tuple[int, ...], dtype: np.dtype[np.generic], *, dimensions: int) -> None:
    if dtype.kind not in _NUMERIC or dtype.itemsize > 8:  # noqa: PLR2004 - bytes of a float64
        raise InvalidInputError(f"{what} has dtype {dtype}; use floats of at most 64 bits, integers or booleans")
    if len(shape) != dimensions:
        raise InvalidInputError(
            f"{what} has {len(shape)} dimensions, shape {shape}; a table has 2 (rows, columns): "
            "`array.reshape(len(array), -1)` makes one"
        )


def _feature_names(names: NDArray[np.generic] | None, features: int) -> tuple[str, ...]:
    if names is None:
        return tuple(f"x{index}" for index in range(features))
    if names.shape != (features,) or names.dtype.kind != "U":
        raise InvalidInputError(
            f"`feature_names` has shape {names.shape} and dtype {names.dtype}; it must be text (dtype `U`), "
            f"one name for each of the {features} columns of `x`"
        )
    found = tuple(str(name).strip() for name in names.tolist())
    if len({*found, "y"}) != features + 1 or not all(found):
        raise InvalidInputError("`feature_names` must be distinct, not empty, and none may be `y`")
    return found
