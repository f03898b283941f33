"""The encoder against the package ``safetensors`` as the oracle, and the decoder on what it must refuse."""

from __future__ import annotations

import json
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from dropout_client import UnexpectedResponseError
from dropout_client.safetensors import decode as loads
from dropout_client.safetensors import encode

DTYPES = ["float16", "float32", "float64", "int8", "int64", "uint8", "uint64", "bool"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3, 4)])
def test_the_package_reads_what_we_write(dtype: str, shape: tuple[int, ...]):
    array = (np.arange(np.prod(shape, dtype=int)).reshape(shape) % 2).astype(dtype)
    read = safetensors.numpy.load(dumps({"x": array, "other": np.float32([1.5])}, {"rate": "0.5"}))
    assert read["x"].dtype == array.dtype
    assert read["x"].shape == shape
    assert np.array_equal(read["x"], array)
    assert read["other"].tolist() == [1.5]


@pytest.mark.parametrize("dtype", DTYPES)
def test_we_read_what_the_package_writes(dtype: str):
    array = np.arange(6).reshape(2, 3).astype(dtype)
    arrays, metadata = loads(bytearray(safetensors.numpy.save({"y": array}, {"seed": "7"})))
    assert arrays["y"].dtype == array.dtype
    assert np.array_equal(arrays["y"], array)
    assert metadata == {"seed": "7"}


def test_bfloat16_goes_and_comes():
    array = np.array([1.5, -2.25], dtype=ml_dtypes.bfloat16)
    arrays, _ = loads(bytearray(dumps({"x": array})))
    assert arrays["x"].dtype == ml_dtypes.bfloat16
    assert arrays["x"].tolist() == [1.5, -2.25]


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3).T,
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(10.0)[::-2],
        np.arange(3, dtype=">f8"),
    ],
)
def test_memory_order_and_byte_order_do_not_matter(array: np.ndarray):
    arrays, _ = loads(bytearray(dumps({"x": array})))
    assert np.array_equal(arrays["x"], array)


def test_what_was_read_is_aligned_and_writable():
    arrays, _ = loads(bytearray(dumps({"a": np.arange(3.0), "b": np.arange(4.0)}, {"odd": "length"})))
    for array in arrays.values():
        assert array.flags.aligned
        array[0] = 42
        assert array[0] == 42


def test_text_is_refused_with_its_name():
    with pytest.raises(TypeError, match="`x` has the type"):
        dumps({"x": np.array(["a"])})


def dumps(*arguments: Any) -> bytes:
    return b"".join(encode(*arguments))


def _body(header: object, data: bytes = b"") -> bytearray:
    text = json.dumps(header).encode()
    return bytearray(len(text).to_bytes(8, "little") + text + data)


@pytest.mark.parametrize(
    "body",
    [
        bytearray(),
        bytearray(b"\xff" * 8),
        bytearray(b"<html>not this</html>"),
        _body([1, 2]),
        _body({"y": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, b"short"),
        _body({"y": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}, b"8 bytes!"),
        _body({"y": {"dtype": "F4", "shape": [2], "data_offsets": [0, 1]}}, b"1"),
        _body({"y": {"shape": [2]}}),
        _body({"y": None}),
    ],
)
def test_an_unreadable_body_is_one_kind_of_error(body: bytearray):
    with pytest.raises(UnexpectedResponseError, match="safetensors"):
        loads(body)
