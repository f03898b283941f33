from __future__ import annotations

import json
import pickle
import struct
import subprocess
import sys
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


@pytest.mark.skipif(sys.platform != "linux", reason="bounds the address space")
def test_a_file_for_which_there_is_no_memory_is_a_memory_error():
    """The library would abort the process."""
    program = """
import resource, re
import numpy as np
from dropout_service.training.tensors import pack
x = np.zeros(100_000_000, np.uint8)
size = int(re.search(r"VmSize:\\s+(\\d+)", open("/proc/self/status").read())[1]) << 10
for spare in range(0, 500_000_001, 25_000_000):
    resource.setrlimit(resource.RLIMIT_AS, (size + spare, resource.RLIM_INFINITY))
    try:
        pack({"x": x}, {})
    except MemoryError:
        continue
    print(spare)
    break
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert 200_000_000 <= int(done.stdout or 0) < 500_000_000, done.stderr
