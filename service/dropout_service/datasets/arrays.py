"""Read ``.npy`` and ``.npz`` files from strangers: what a header declares is checked before it is believed.

Nothing here unpickles. The reason is in NumPy's own documentation: loading a pickled array runs code.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from dropout_service.errors import InvalidInputError
from dropout_service.npy import read_npy_header
from dropout_service.scratch import IN_MEMORY

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from dropout_service.budgets import Budgets
    from dropout_service.scratch import Scratch

__all__ = ["MAX_LABEL_CHARS", "NpzContent", "npz_bytes", "open_npy", "read_npz"]

MAX_LABEL_CHARS: Final = 200
_CHUNK_BYTES: Final = 1 << 18
_NUMERIC: Final = "fiub"


@dataclass(frozen=True, slots=True)
class NpzContent:
    """The arrays of an npz: ``x`` (rows, features), ``y`` (rows,), and the names of the features."""

    x: NDArray[np.generic]
    y: NDArray[np.generic]
    feature_names: tuple[str, ...]


def open_npy(path: Path, budgets: Budgets | None = None) -> NDArray[np.generic]:
    """Map a 2-D array of numbers into memory, without reading it.

    Parameters
    ----------
    path
        The file.
    budgets
        Bound of its columns; ``None`` for what was found acceptable before.

    Raises
    ------
    InvalidInputError
        The file is no such array, or has another length than its header says.
    OverBudgetError
        It has too many columns.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        header = read_npy_header(file, "the file")
    _check_size("the file", header.shape, header.dtype, size - header.size_bytes)
    _check_numeric("the file", header.shape, header.dtype, dimensions=2)
    if budgets is not None:
        budgets.check("columns", header.shape[1])
    if 0 in header.shape:
        raise InvalidInputError(f"the array has shape {header.shape}; it needs at least one row and one column")
    return np.memmap(path, header.dtype, "r", header.size_bytes, header.shape, "F" if header.order == "F" else "C")


def read_npz(path: Path, budgets: Budgets | None = None, scratch: Scratch = IN_MEMORY) -> NpzContent:
    """Read the arrays ``x``, ``y`` and ``feature_names`` of an npz.

    Parameters
    ----------
    path
        The file.
    budgets
        Bounds of the arrays together, unpacked: a small zip file can declare terabytes. ``None`` for what was found
        acceptable before.
    scratch
        Makes the arrays.

    Raises
    ------
    InvalidInputError
        An array is missing, has a wrong shape or type, or the zip file is damaged.
    OverBudgetError
        The arrays are above a budget.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            _check_members(members)
            if budgets is not None:
                unpacked = sum(info.file_size for info in members.values())
                budgets.check("npz_bytes", unpacked, remedy="an npy or csv dataset is not read into memory")
            x = _read_member(archive, members["x"], "x", scratch, budgets)
            y = _read_member(archive, members["y"], "y", scratch)
            named = members.get("feature_names")
            names = None if named is None else _read_member(archive, named, "feature_names", scratch)
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


def _read_member(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, scratch: Scratch, budgets: Budgets | None = None
) -> NDArray[np.generic]:
    """Read an array; where there are budgets, it is a table with one column more."""
    with archive.open(info) as file:
        header = read_npy_header(file, f"`{name}`")
        _check_size(f"`{name}`", header.shape, header.dtype, info.file_size - header.size_bytes)
        if budgets is not None and len(header.shape) == 2:  # noqa: PLR2004 - rows and columns
            budgets.check("columns", header.shape[1] + 1)
        content = scratch.empty(info.file_size - header.size_bytes, np.uint8)
        at = 0
        while chunk := file.read(_CHUNK_BYTES):
            content[at : at + len(chunk)] = np.frombuffer(chunk, np.uint8)
            at += len(chunk)
    if at != len(content):
        raise EOFError(f"`{name}` is cut short")
    try:
        return np.ndarray(header.shape, header.dtype, content, order="F" if header.order == "F" else "C")
    except (ValueError, OverflowError):  # sizes beside a zero may still be beyond what NumPy can index
        raise InvalidInputError(f"`{name}` has shape {header.shape}, larger than an array can be") from None


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
