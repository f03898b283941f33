from __future__ import annotations

import json
import pickle
import struct
from typing import Any

import numpy as np
import pytest

from dropout_service.errors import InvalidInputError
from dropout_service.training.tensors import pack, unpack

TENSORS = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.ones(2)}


def file_of(header: dict[str, Any], body: bytes = b""):
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def test_what_is_packed_is_unpacked():
    tensors, description = unpack(pack(TENSORS, {"x": [0.1, None, "ü"]}), pointer="/file")
    assert description == {"x": [0.1, None, "ü"]}
    assert {name: (t.dtype.name, t.tolist()) for name, t in tensors.items()} == {
        name: (t.dtype.name, t.tolist()) for name, t in TENSORS.items()
    }


def test_the_same_content_gives_the_same_bytes():
    assert pack(TENSORS, {"x": 1}) == pack(dict(reversed(TENSORS.items())), {"x": 1})


def test_transposed_tensors_keep_their_values():
    tensors, _ = unpack(pack({"t": TENSORS["b"].T}, {}), pointer="/file")
    np.testing.assert_array_equal(tensors["t"], TENSORS["b"].T)


FLOAT = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
DESCRIBED = {"__metadata__": {"description": "{}"}}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x93NUMPY",
        pickle.dumps(TENSORS),
        struct.pack("<Q", 1 << 60) + b"{}",
        file_of({"t": FLOAT}, b"\0" * 4),
        file_of({"t": FLOAT, "__metadata__": {"other": "x"}}, b"\0" * 4),
        file_of({"t": FLOAT, "__metadata__": {"description": "not json"}}, b"\0" * 4),
        file_of({"t": FLOAT, "__metadata__": {"description": "[]"}}, b"\0" * 4),
        file_of({"t": FLOAT, "__metadata__": {"description": "[" * 100_000}}, b"\0" * 4),
        file_of({"t": FLOAT} | DESCRIBED, b"\0" * 3),
        file_of({"t": FLOAT} | DESCRIBED, b"\0" * 5),
        file_of({"t": FLOAT | {"shape": [1 << 40]}} | DESCRIBED, b"\0" * 4),
        file_of({"t": FLOAT | {"dtype": "PYOBJECT"}} | DESCRIBED, b"\0" * 4),
        file_of({"t": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}} | DESCRIBED, b"\0" * 4),
        file_of({"t": FLOAT, "u": FLOAT} | DESCRIBED, b"\0" * 4),
    ],
)
def test_anything_else_is_refused(data: bytes):
    with pytest.raises(InvalidInputError) as caught:
        unpack(data, pointer="/file")
    assert caught.value.errors[0].pointer == "/file"
