"""``Scratch``: room for arrays that may be larger than memory.

A file that is mapped is no memory of the process: what it holds stays in the page cache as long as there is room, and
on the disk otherwise. The file has no name, so it is gone with its process, however that ends.
"""

from __future__ import annotations

import errno
import math
import mmap
import os
import sys
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from dropout_service.errors import UnavailableError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import DTypeLike, NDArray

__all__ = ["IN_MEMORY", "Scratch"]


@dataclass(frozen=True, slots=True)
class Scratch:
    """Makes arrays: in memory, or in a mapped file where they are larger than a bound.

    Parameters
    ----------
    folder
        Where the files are, on a disk and not in memory; ``None``: every array is in memory.
    array_bytes
        The largest array in memory, where there is a folder.
    """

    folder: Path | None = None
    array_bytes: int = 0

    def empty(self, shape: int | tuple[int, ...], dtype: DTypeLike, order: Literal["C", "F"] = "C") -> NDArray[Any]:
        """Return a new array with anything in it.

        Raises
        ------
        StorageFullError
            The disk has no room for it: that shows here, and not when it is written to.
        UnavailableError
            The disk does not do as it should.
        """
        dtype = np.dtype(dtype)
        size = math.prod(shape if isinstance(shape, tuple) else (shape,)) * dtype.itemsize
        if self.folder is None or size <= self.array_bytes:
            return np.empty(shape, dtype, order)
        try:
            with TemporaryFile(dir=self.folder) as file:
                _reserve(file.fileno(), size)
                content = mmap.mmap(file.fileno(), size)
        except OSError as error:
            if error.errno == errno.ENOMEM:
                raise MemoryError(f"no addresses for a file of {size:,} bytes") from error
            raise UnavailableError.of_disk(f"cannot write {size:,} bytes of training data to scratch", error) from error
        return np.frombuffer(content, dtype).reshape(shape, order=order)

    def keep(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return the array, or a copy in a file where it is larger than the bound."""
        if self.folder is None or array.nbytes <= self.array_bytes:
            return array
        kept = self.empty(array.shape, array.dtype)
        kept[:] = array
        return kept


IN_MEMORY: Final = Scratch()
"""Makes every array in memory."""


def _reserve(descriptor: int, size_bytes: int) -> None:
    """Give a file its size, and its blocks where the system can: a page without room for it would end the process."""
    if sys.platform == "darwin":
        os.ftruncate(descriptor, size_bytes)
    else:
        os.posix_fallocate(descriptor, 0, size_bytes)
