"""Arrays in mapped files."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from mounts import SmallDisk

from dropout_service.errors import UnavailableError
from dropout_service.scratch import IN_MEMORY, Scratch

if TYPE_CHECKING:
    from pathlib import Path


def is_mapped(array: np.ndarray) -> bool:
    return array.base is not None and not array.flags.owndata


def test_a_larger_array_is_in_a_file_without_a_name(tmp_path: Path):
    scratch = Scratch(tmp_path, array_bytes=800)
    small, large = scratch.empty(100, np.float64), scratch.empty(101, np.float64)
    assert (is_mapped(small), is_mapped(large)) == (False, True)
    large[:] = np.arange(101)
    assert large.sum() == 5050
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("order", ["C", "F"])
def test_shape_type_and_order_are_those_asked_for(tmp_path: Path, order: str):
    array = Scratch(tmp_path).empty((5, 3), np.float32, order)
    assert (array.shape, array.dtype) == ((5, 3), np.float32)
    assert array.flags.f_contiguous == (order == "F")
    assert array.flags.writeable


def test_an_array_without_elements_needs_no_file(tmp_path: Path):
    assert Scratch(tmp_path).empty((0, 3), np.float32).shape == (0, 3)


def test_a_kept_array_is_copied_where_it_is_larger(tmp_path: Path):
    array = np.arange(12).reshape(3, 4)
    assert IN_MEMORY.keep(array) is array
    assert Scratch(tmp_path, array.nbytes).keep(array) is array
    kept = Scratch(tmp_path, array.nbytes - 1).keep(array)
    assert is_mapped(kept)
    np.testing.assert_array_equal(kept, array)


def test_a_folder_that_is_gone_is_told(tmp_path: Path):
    with pytest.raises(UnavailableError, match="cannot write 800 bytes of training data to scratch: No such file"):
        Scratch(tmp_path / "gone").empty(100, np.float64)


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a disk")
def test_a_full_disk_is_told_before_anything_is_written(tmp_path: Path):
    """An array that is written to when there is no room would end the process (SIGBUS)."""
    program = f"""
from pathlib import Path
from dropout_service.errors import StorageFullError
from dropout_service.scratch import Scratch
scratch = Scratch(Path({str(tmp_path / "disk")!r}))
scratch.empty(1 << 19, "u1")[:] = 1
try:
    scratch.empty(1 << 21, "u1")
except StorageFullError as error:
    print(error)
scratch.empty(1 << 19, "u1")[:] = 1
print("room")
"""
    with SmallDisk(tmp_path / "disk", 1 << 20) as disk:
        done = subprocess.run(
            [*disk.inside, sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
        )
    assert done.stdout == ("cannot write 2,097,152 bytes of training data to scratch: No space left on device\nroom\n")
