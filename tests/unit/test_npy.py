"""The one reader of npy headers; what uploads and bodies make of it is tested with them."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest

from dropout_service.errors import InvalidInputError
from dropout_service.npy import MAX_HEADER_BYTES, read_npy_header


def file_of(text: str, version: int = 1) -> io.BytesIO:
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return io.BytesIO(b"\x93NUMPY" + bytes([version, 0]) + length + text.encode("latin1") + b"data")


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f4", ">f8", "|b1", "<i2", "<U5", "<c16"])
def test_what_numpy_writes_is_read(version: tuple[int, int], order: str, dtype: str):
    array = np.zeros((3, 4), dtype, order=order)
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version=version)
    file.seek(0)
    header = read_npy_header(file, "it")
    assert (header.dtype, header.shape, header.order) == (array.dtype, (3, 4), order)
    assert header.size_bytes == file.tell() == len(file.getvalue()) - array.nbytes


def test_what_python_2_wrote_is_read():
    assert read_npy_header(file_of("{'descr': '<f4', 'fortran_order': False, 'shape': (3L, 40L), }"), "it").shape == (
        3,
        40,
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an npy file"),
        (b"\x93NUMP", "not an npy file"),
        (b"\x93NUMPY", "cut short: it ends after 6 bytes"),
        (b"\x93NUMPY\x01", "cut short"),
        (b"\x93NUMPY\x01\x00\x10", "cut short"),
        (b"\x93NUMPY\x01\x00\x10\x00{}", "needs 16 bytes, 2 are there"),
        (b"\x93NUMPY\x04\x00" + bytes(20), "version 4.0 is unknown"),
        (b"\x93NUMPY\x01\x01" + bytes(20), "version 1.1 is unknown"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff", f"4,294,967,295 bytes; at most {MAX_HEADER_BYTES:,}"),
        (file_of("{'descr': '<f4'}").getvalue(), "not understood"),
        (
            file_of(f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({'1' * 5000},)}}", 2).getvalue(),
            "not understood",
        ),
        (file_of("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}").getvalue(), "never loaded"),
        (file_of("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}").getvalue(), "structured"),
        (file_of("{'descr': 'zz', 'fortran_order': False, 'shape': (1,)}").getvalue(), "'zz' is no dtype"),
    ],
)
def test_what_is_no_header_is_told(content: bytes, message: str):
    with pytest.raises(InvalidInputError, match=f"^it .*{message}"):
        read_npy_header(io.BytesIO(content), "it")
