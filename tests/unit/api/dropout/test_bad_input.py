"""Bad input of every kind: a problem that says what is wrong, where, and what would be right. Never a 500."""

from __future__ import annotations

import base64
import json
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sample_arrays import npy

if TYPE_CHECKING:
    import httpx

JSON = "application/json"
NPY = "application/x-npy"
SAFETENSORS = "application/vnd.safetensors"


@dataclass(frozen=True)
class Bad:
    """A bad request, and what its problem must say."""

    body: Any
    pointer: str | None
    says: str
    status: int = 422
    content_type: str = JSON
    path: str = "/dropout/forward"
    headers: dict[str, str] = field(default_factory=dict)


def npy_header(text: str, data: bytes = b"", version: int = 1) -> bytes:
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + length + text.encode("latin1") + data


def safetensors(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(name: str = "x", dtype: str = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {name: {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}}


def forward(**fields: Any) -> dict[str, Any]:
    return {"x": [[1, 2], [3, 4]], "rate": 0.5, **fields}


def backward(**fields: Any) -> dict[str, Any]:
    return {"grad_output": [[1, 2], [3, 4]], "rate": 0.5, **fields}


def encoded(dtype: Any = "float32", shape: Any = (2,), data: Any = "AACAPwAAAEA=") -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape) if isinstance(shape, tuple) else shape, "data": data}


FLOATS = np.ones((2, 3), np.float32)
IMAGE = [[[[1, 2, 3], [4, 5, 6]]]]
RATE = "/dropout/forward?rate=0.5"
BACK = "/dropout/backward"
CASES: dict[str, Bad] = {
    # arrays in JSON
    "ragged rows": Bad(forward(x=[[1, 2], [3]]), "/x/1", "1 entries where the first one has 2"),
    "ragged deep": Bad(forward(x=[[[1], [2]], [[3], [4, 5]]]), "/x/1/1", "where the first one has 1"),
    "row instead of number": Bad(forward(x=[1, [2]]), "/x/1", "should be a number"),
    "number instead of row": Bad(forward(x=[[1], 2]), "/x/1", "should be a list of 1"),
    "text": Bad(forward(x=[[1, "two"]]), "/x/0/1", "got the text 'two'"),
    "numeric text": Bad(forward(x=[1.5, "2.5"]), "/x/1", "should be a number"),
    "null": Bad(forward(x=[1, None]), "/x/1", "got null"),
    "boolean": Bad(forward(x=[1, True]), "/x/1", "got true"),
    "object inside": Bad(forward(x=[{}]), "/x/0", "got an object"),
    "x is text": Bad(forward(x="1 2 3"), "/x", "should be a number"),
    "x is null": Bad(forward(x=None), "/x", "should be a number"),
    "x is left out": Bad({"rate": 0.5}, "/x", "required"),
    "number beyond float64": Bad('{"x": [1e999], "rate": 0.5}', "/x", "beyond the range of float64"),
    "integer beyond float64": Bad(forward(x=[10**400]), "/x", "beyond the range of float64"),
    "number beyond dtype": Bad(forward(x=[1, 1e6], dtype="float16"), "/x/1", "beyond the range of float16"),
    "nested too deep": Bad('{"x": ' + "[" * 40 + "]" * 40 + ', "rate": 0.5}', "/x", "32 levels"),
    "nested beyond the parser": Bad('{"x": ' + "[" * 9999 + "]" * 9999 + "}", "", "recursion limit"),
    "encoded: integers": Bad(forward(x=encoded("int32")), "/x/dtype", "float16, bfloat16, float32, float64"),
    "encoded: not base64": Bad(forward(x=encoded(data="a*b=")), "/x/data", "base64"),
    "encoded: data is a number": Bad(forward(x=encoded(data=5)), "/x/data", "valid string"),
    "encoded: another size": Bad(forward(x=encoded(shape=(3,))), "/x", "takes 12 bytes, but 8 are there"),
    "encoded: negative size": Bad(forward(x=encoded(shape=(-2,))), "/x/shape", "negative"),
    "encoded: enormous": Bad(forward(x=encoded(shape=(10**12,))), "/x", "takes 4,000,000,000,000 bytes"),
    "encoded: enormous but empty": Bad(forward(x=encoded(shape=(0, 2**62, 2**62), data="")), "/x", "larger than"),
    "encoded: sizes of thousands of digits": Bad(forward(x=encoded(shape=(10**4000,) * 2)), "/x", "larger than"),
    "encoded: a field too many": Bad(forward(x={**encoded(), "order": "F"}), "/x/order", "not permitted"),
    "encoded: with dtype": Bad(forward(x=encoded(), dtype="float64"), "/dtype", "leave this one out"),
    # parameters in JSON
    "rate above 1": Bad(forward(rate=1.5), "/rate", "less than or equal to 1; got 1.5"),
    "rate below 0": Bad(forward(rate=-0.1), "/rate", "greater than or equal to 0; got -0.1"),
    "rate as text": Bad(forward(rate="0.5"), "/rate", "valid number; got '0.5'"),
    "rate NaN as text": Bad(forward(rate="NaN"), "/rate", "valid number"),
    "rate beyond floats": Bad('{"x": [1], "rate": 1e999}', "/rate", "finite number"),
    "rate NaN": Bad('{"x": [1], "rate": NaN}', "", '"NaN", "Infinity"'),
    "rate null": Bad(forward(rate=None), "/rate", "got null"),
    "rate boolean": Bad(forward(rate=True), "/rate", "got true"),
    "rate left out": Bad({"x": [1]}, "/rate", "required"),
    "unknown field": Bad(forward(rat=0.5), "/rat", "did you mean `rate`?"),
    "seed negative": Bad(forward(seed=-1), "/seed", "greater than or equal to 0"),
    "seed too large": Bad(forward(seed=2**64), "/seed", "less than 18446744073709551616"),
    "seed of thousands of digits": Bad(forward(seed=10**4000), "/seed", "less than 18446744073709551616"),
    "noise_shape of thousands of digits": Bad(forward(noise_shape=[10**4000, 1]), "/noise_shape", ""),
    "seed fractional": Bad(forward(seed=1.5), "/seed", "valid integer"),
    "offset text": Bad(forward(offset="3"), "/offset", "valid integer"),
    "scaling": Bad(forward(scaling="other"), "/scaling", "'inverted' or 'classic'"),
    "training as number": Bad(forward(training=1), "/training", "valid boolean"),
    "noise_shape of another length": Bad(forward(noise_shape=[1]), "/noise_shape", ""),
    "noise_shape of another size": Bad(forward(noise_shape=[1, 3]), "/noise_shape", ""),
    "noise_shape negative": Bad(forward(noise_shape=[1, -2]), "/noise_shape/1", "greater than or equal to 0"),
    "noise_shape text": Bad(forward(noise_shape="1,2"), "/noise_shape", "valid list"),
    "dtype integer": Bad(forward(dtype="int8"), "/dtype", "float16"),
    "variant": Bad(forward(variant="standart"), "/variant", "did you mean `standard`? there are standard, "),
    "variant of another kind": Bad(forward(variant=3), "/variant", "there is no variant 3"),
    "variant unhashable": Bad(forward(variant={}), "/variant", "there is no variant {}"),
    "parameter of another variant": Bad(forward(axis=1), "/axis", "a parameter of `locked`, not of `standard`, which"),
    "noise_shape of another variant": Bad(
        forward(variant="batchwise", noise_shape=[1, 2]), "/noise_shape", "takes no parameters of its own"
    ),
    "parameter misspelt": Bad(forward(variant="locked", axes=1), "/axes", "did you mean `axis`?"),
    "axis beyond the array": Bad(forward(variant="locked", axis=2), "/axis", "axis 2 is not one of x"),
    "axis fractional": Bad(forward(variant="locked", axis=0.5), "/axis", "valid integer"),
    "axis null": Bad(forward(variant="locked", axis=None), "/axis", "got null"),
    "rank": Bad(forward(variant="feature2d"), "/x", "(n, c, h, w), not shape [2, 2]"),
    "rank of a gradient": Bad(
        backward(variant="feature1d", seed=1), "/grad_output", "(n, c, l), not shape [2, 2]", path=BACK
    ),
    "block larger than the image": Bad(
        forward(x=IMAGE, variant="dropblock", block_size=3), "/block_size", "at most the size of a map, 2, not 3"
    ),
    "block of the default size": Bad(forward(x=IMAGE, variant="dropblock"), "/block_size", "2, not 7"),
    "block of size 0": Bad(forward(x=IMAGE, variant="dropblock", block_size=0), "/block_size", "or equal to 1; got 0"),
    "block of a matrix": Bad(forward(variant="dropblock", block_size=1), "/x", "(n, c, h, w), not shape [2, 2]"),
    "temperature 0": Bad(forward(variant="concrete", temperature=0), "/temperature", "greater than 0; got 0"),
    "temperature as text": Bad(forward(variant="concrete", temperature="0.1"), "/temperature", "valid number"),
    "temperature beyond floats": Bad(
        '{"x": [1], "rate": 0.5, "variant": "concrete", "temperature": 1e999}', "/temperature", "finite number"
    ),
    "two parameters of other variants": Bad(
        forward(variant="concrete", block_size=3, axis=1), "/axis", "of `concrete`, which takes `temperature`"
    ),
    "rate 1 of a normal noise": Bad(forward(variant="gaussian", rate=1), "/rate", "below 1, not 1"),
    "rate 0 that is learned": Bad(forward(variant="concrete", rate=0), "/rate", "above 0 and below 1, not 0"),
    "classic scaling where there is none": Bad(
        forward(variant="alpha", scaling="classic"), "/scaling", "is \"inverted\", not 'classic'"
    ),
    "mask where there is none": Bad(
        forward(variant="gaussian", return_mask="packed"), "/return_mask", "is not a mask; leave this out"
    ),
    "mask given where there is none": Bad(
        backward(variant="gaussian", mask=True), "/mask", "is not a mask: give the seed", path=BACK
    ),
    "learned rate without x": Bad(
        backward(variant="concrete", seed=1), "/x", "needs x, the input of the forward pass", path=BACK
    ),
    "learned rate with another x": Bad(
        backward(variant="concrete", seed=1, x=[1, 2]), "/x", "of shape [2, 2] like grad_output", path=BACK
    ),
    "learned rate with a ragged x": Bad(
        backward(variant="concrete", seed=1, x=[[1, 2], [3]]), "/x/1", "rows must have one length", path=BACK
    ),
    "learned rate in npy": Bad(
        npy(FLOATS), "/x", "npy holds one array", path=f"{BACK}?rate=0.5&seed=1&variant=concrete", content_type=NPY
    ),
    "learned rate without the tensor x": Bad(
        safetensors(tensor("grad_output"), b"8" * 8),
        "/x",
        "needs x",
        path=f"{BACK}?rate=0.5&seed=1&variant=concrete",
        content_type=SAFETENSORS,
    ),
    "tensor x where it is not needed": Bad(
        safetensors(tensor("grad_output") | tensor("x", offsets=(8, 16)), b"8" * 16),
        "/x",
        "there are grad_output, mask",
        path=f"{BACK}?rate=0.5&seed=1",
        content_type=SAFETENSORS,
    ),
    "integer tensor x": Bad(
        safetensors(tensor("grad_output") | tensor("x", "I32", offsets=(8, 16)), b"8" * 16),
        "/x",
        "int32; send one of",
        path=f"{BACK}?rate=0.5&seed=1&variant=concrete",
        content_type=SAFETENSORS,
    ),
    "query: variant": Bad(npy(FLOATS), "/variant", "`locked`?", path=f"{RATE}&variant=loked", content_type=NPY),
    "query: axis word": Bad(npy(FLOATS), "/axis", "integer", path=f"{RATE}&variant=locked&axis=x", content_type=NPY),
    "query: foreign": Bad(npy(FLOATS), "/axis", "a parameter of `locked`", path=f"{RATE}&axis=0", content_type=NPY),
    "metadata: foreign": Bad(
        safetensors(tensor() | {"__metadata__": {"rate": "0.5", "axis": "0"}}, b"8" * 8),
        "/axis",
        "a parameter of `locked`",
        content_type=SAFETENSORS,
    ),
    "return_mask": Bad(forward(return_mask=True), "/return_mask", "'none', 'bool' or 'packed'"),
    # the JSON body
    "empty body": Bad("", "", "not valid JSON"),
    "not JSON": Bad("{x: 1}", "", "line 1 column 2"),
    "trailing comma": Bad('{"x": [1,], "rate": 0.5}', "", "line 1 column 10"),
    "not UTF-8": Bad(b'{"x": [1], "rate": 0.5, "scaling": "\xff"}', "", "unicode"),
    "list": Bad([1, 2], "", 'object such as {"x": [[1, 2], [3, 4]], "rate": 0.5}'),
    "name twice": Bad('{"x": [1], "rate": 0.5, "rate": 0.6}', "/rate", "twice"),
    "name twice, hidden": Bad('{"x": [1], "rate": 0.5, "r\\u0061te": 0.6}', "/rate", "twice"),
    "name twice beside texts": Bad('{"x": ["NaN", "NaN"], "rate": 0.5, "rate": 0.6}', "/rate", "twice"),
    "name twice, a text": Bad('{"x": [1], "rate": 0, "variant": "alpha", "variant": "standard"}', "/variant", "twice"),
    "name twice inside": Bad(
        '{"x": {"dtype": "float32", "dtype": "float32", "shape": [0], "data": ""}, "rate": 0}', "/dtype", "twice"
    ),
    "query beside JSON": Bad(forward(), "/rate", "into the body", path=RATE),
    # the query of a binary body
    "query: unknown": Bad(npy(FLOATS), "/rat", "did you mean `rate`?", path=f"{RATE}&rat=0.5", content_type=NPY),
    "query: rate left out": Bad(npy(FLOATS), "/rate", "required", content_type=NPY),
    "query: rate twice": Bad(npy(FLOATS), "/rate", "twice", path=f"{RATE}&rate=0.5", content_type=NPY),
    "query: rate nan": Bad(npy(FLOATS), "/rate", "finite", path="/dropout/forward?rate=nan", content_type=NPY),
    "query: rate empty": Bad(npy(FLOATS), "/rate", "number", path="/dropout/forward?rate=", content_type=NPY),
    "query: rate word": Bad(npy(FLOATS), "/rate", "'half'", path="/dropout/forward?rate=half", content_type=NPY),
    "query: seed word": Bad(npy(FLOATS), "/seed", "integer", path=f"{RATE}&seed=x", content_type=NPY),
    "query: training word": Bad(npy(FLOATS), "/training", "boolean", path=f"{RATE}&training=yes", content_type=NPY),
    "query: noise_shape": Bad(npy(FLOATS), "/noise_shape", "list", path=f"{RATE}&noise_shape=a", content_type=NPY),
    "query: dtype": Bad(npy(FLOATS), "/dtype", "no such field", path=f"{RATE}&dtype=float32", content_type=NPY),
    "query: not UTF-8": Bad(npy(FLOATS), "", "not understood", path=f"{RATE}&seed=%ff", content_type=NPY),
    "query: mask in npy": Bad(
        npy(FLOATS), "/return_mask", "safetensors", path=f"{RATE}&return_mask=bool", content_type=NPY
    ),
    # npy
    "npy: empty": Bad(b"", "/x", "not an npy file", path=RATE, content_type=NPY),
    "npy: text": Bad(b"1,2,3\n4,5,6\n", "/x", "not an npy file", path=RATE, content_type=NPY),
    "npy: cut in the magic": Bad(npy(FLOATS)[:8], "/x", "cut short", path=RATE, content_type=NPY),
    "npy: cut in the header": Bad(npy(FLOATS)[:50], "/x", "cut short", path=RATE, content_type=NPY),
    "npy: cut in the data": Bad(npy(FLOATS)[:-1], "/x", "but 23 are there", path=RATE, content_type=NPY),
    "npy: too long": Bad(npy(FLOATS) + b"!", "/x", "but 25 are there", path=RATE, content_type=NPY),
    "npy: version 9": Bad(
        b"\x93NUMPY\x09\x00" + npy(FLOATS)[8:], "/x", "version 9.0 is unknown", path=RATE, content_type=NPY
    ),
    "npy: pickled": Bad(
        npy(np.array([{}, 1], object), allow_pickle=True), "/x", "never loaded", path=RATE, content_type=NPY
    ),
    "npy: integers": Bad(npy(np.arange(3)), "/x", "int64; send one of", path=RATE, content_type=NPY),
    "npy: booleans": Bad(npy(np.array([True])), "/x", "bool; send one of", path=RATE, content_type=NPY),
    "npy: complex": Bad(npy(np.array([1j])), "/x", "complex128", path=RATE, content_type=NPY),
    "npy: text array": Bad(npy(np.array(["a"])), "/x", "send one of", path=RATE, content_type=NPY),
    "npy: structured": Bad(npy(np.zeros(2, [("a", "f4")])), "/x", "structured dtype", path=RATE, content_type=NPY),
    "npy: bfloat16": Bad(npy(np.zeros(2, "V2")), "/x", "safetensors", path=RATE, content_type=NPY),
    "npy: dates": Bad(npy(np.array(["2020"], "M8[Y]")), "/x", "send one of", path=RATE, content_type=NPY),
    "npy: no dtype": Bad(
        npy_header("{'descr': 'zz', 'fortran_order': False, 'shape': (1,)}"),
        "/x",
        "'zz' is no dtype",
        path=RATE,
        content_type=NPY,
    ),
    "npy: 10 GB declared": Bad(
        npy_header("{'descr': '<f4', 'fortran_order': False, 'shape': (2500000000,)}", b"1234"),
        "/x",
        "takes 10,000,000,000 bytes, but 4 are there",
        path=RATE,
        content_type=NPY,
    ),
    "npy: endless sizes": Bad(
        npy_header("{'descr': '<f4', 'fortran_order': False, 'shape': (0, 9223372036854775807, 99)}"),
        "/x",
        "larger than an array can be",
        path=RATE,
        content_type=NPY,
    ),
    "npy: sizes of thousands of digits": Bad(
        npy_header(f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({10**4000}, {10**4000})}}"),
        "/x",
        "larger than an array can be",
        path=RATE,
        content_type=NPY,
    ),
    "npy: many dimensions": Bad(
        npy_header(f"{{'descr': '<f4', 'fortran_order': False, 'shape': {(1,) * 40}}}", b"1234"),
        "/x",
        "40 dimensions",
        path=RATE,
        content_type=NPY,
    ),
    "npy: a list for a name": Bad(npy_header("{[]: 1}"), "/x", "not understood", path=RATE, content_type=NPY),
    "npy: negative size": Bad(
        npy_header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}"),
        "/x",
        "not understood",
        path=RATE,
        content_type=NPY,
    ),
    "npy: header is code": Bad(
        npy_header("__import__('os').abort()"), "/x", "not understood", path=RATE, content_type=NPY
    ),
    "npy: header is a bomb": Bad(
        npy_header("(" * 5000 + ")" * 4990), "/x", "not understood", path=RATE, content_type=NPY
    ),
    "npy: endless header": Bad(
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff1234", "/x", "4,294,967,295", path=RATE, content_type=NPY
    ),
    # safetensors
    "safetensors: empty": Bad(b"", "", "cut short", path=RATE, content_type=SAFETENSORS),
    "safetensors: endless header": Bad(
        b"\xff" * 16, "", "18,446,744,073,709,551,615 bytes", path=RATE, content_type=SAFETENSORS
    ),
    "safetensors: cut in the header": Bad(
        safetensors(tensor())[:20], "", "cut short", path=RATE, content_type=SAFETENSORS
    ),
    "safetensors: header is no JSON": Bad(
        safetensors(b"{x}"), "", "not valid JSON", path=RATE, content_type=SAFETENSORS
    ),
    "safetensors: header is a list": Bad(safetensors([]), "", "JSON object", path=RATE, content_type=SAFETENSORS),
    "safetensors: no shape": Bad(
        safetensors({"x": {"dtype": "F32", "data_offsets": [0, 0]}}),
        "/x",
        '"shape": [2, 3]',
        path=RATE,
        content_type=SAFETENSORS,
    ),
    "safetensors: unknown dtype": Bad(
        safetensors(tensor(dtype="F8_E4M3"), b"8" * 8), "/x", "F16, BF16", path=RATE, content_type=SAFETENSORS
    ),
    "safetensors: integers": Bad(
        safetensors(tensor(dtype="I32"), b"8" * 8), "/x", "int32; send one of", path=RATE, content_type=SAFETENSORS
    ),
    "safetensors: another size": Bad(
        safetensors(tensor(shape=(3,)), b"8" * 8), "/x", "takes 12 bytes", path=RATE, content_type=SAFETENSORS
    ),
    "safetensors: negative size": Bad(
        safetensors(tensor(shape=(-2, -1)), b"8" * 8), "/x", "negative", path=RATE, content_type=SAFETENSORS
    ),
    "safetensors: 10 GB declared": Bad(
        safetensors(tensor(shape=(2_500_000_000,), offsets=(0, 10**10)), b"8"),
        "/x",
        "within the 1 bytes",
        path=RATE,
        content_type=SAFETENSORS,
    ),
    "safetensors: gap": Bad(
        safetensors(tensor(offsets=(4, 12)), b"8" * 12), "/x", "begin at 0", path=RATE, content_type=SAFETENSORS
    ),
    "safetensors: overlap": Bad(
        safetensors(tensor() | tensor("y", offsets=(4, 12)), b"8" * 12),
        "/y",
        "begin at 8",
        path=RATE,
        content_type=SAFETENSORS,
    ),
    "safetensors: reversed": Bad(
        safetensors(tensor(offsets=(8, 0)), b"8" * 8), "/x", "gaps and overlaps", path=RATE, content_type=SAFETENSORS
    ),
    "safetensors: bytes left": Bad(
        safetensors(tensor(), b"8" * 9), "", "1 bytes follow", path=RATE, content_type=SAFETENSORS
    ),
    "safetensors: no x": Bad(safetensors({}), "/x", "required", path=RATE, content_type=SAFETENSORS),
    "safetensors: another tensor": Bad(
        safetensors(tensor("z"), b"8" * 8), "/z", "there are x", path=RATE, content_type=SAFETENSORS
    ),
    "safetensors: metadata of numbers": Bad(
        safetensors(tensor() | {"__metadata__": {"rate": 0.5}}, b"8" * 8),
        "/__metadata__",
        '{"rate": "0.5"}',
        content_type=SAFETENSORS,
    ),
    "safetensors: rate in both": Bad(
        safetensors(tensor() | {"__metadata__": {"rate": "0.5"}}, b"8" * 8),
        "/rate",
        "in one of them",
        path=RATE,
        content_type=SAFETENSORS,
    ),
    "safetensors: unknown metadata": Bad(
        safetensors(tensor() | {"__metadata__": {"rate": "0.5", "sed": "1"}}, b"8" * 8),
        "/sed",
        "did you mean `seed`?",
        content_type=SAFETENSORS,
    ),
    "safetensors: rate 1.5": Bad(
        safetensors(tensor(), b"8" * 8), "/rate", "got 1.5", path="/dropout/forward?rate=1.5", content_type=SAFETENSORS
    ),
    # backward
    "neither seed nor mask": Bad(backward(), "/seed", "or its `mask`", path=BACK),
    "seed and mask": Bad(backward(seed=1, mask=[[True, True]] * 2), "/seed", "give one of them", path=BACK),
    "x instead of grad_output": Bad(forward(seed=1), "/x", "no such field", path=BACK),
    "mask of another shape": Bad(backward(mask=[True, False, True]), "/mask", "", path=BACK),
    "mask of numbers": Bad(backward(mask=[[1, 0], [0, 1]]), "/mask/0/0", "true or false", path=BACK),
    "mask ragged": Bad(backward(mask=[[True, False], [True]]), "/mask/1", "where the first one has 2", path=BACK),
    "mask encoded as floats": Bad(backward(mask=encoded()), "/mask/dtype", "bool, packed", path=BACK),
    "mask not 0 and 1": Bad(
        backward(mask=encoded("bool", (2, 2), "AAEBBw==")), "/mask/data", "other than 0 and 1", path=BACK
    ),
    "packed mask too short": Bad(
        backward(grad_output=[1] * 9, mask=encoded("packed", (9,), "AA==")), "/mask", "2 bytes", path=BACK
    ),
    "packed mask enormous": Bad(
        backward(mask=encoded("packed", (2**40, 2**40), "AA==")), "/mask", "does not fit", path=BACK
    ),
    "mask tensor of floats": Bad(
        safetensors(tensor("grad_output") | tensor("mask", offsets=(8, 16)), b"8" * 16),
        "/mask",
        "BOOL, or U8",
        path=f"{BACK}?rate=0.5",
        content_type=SAFETENSORS,
    ),
    "mask tensor not 0 and 1": Bad(
        safetensors(tensor("grad_output") | tensor("mask", "BOOL", offsets=(8, 10)), b"8" * 10),
        "/mask",
        "other than 0 and 1",
        path=f"{BACK}?rate=0.5",
        content_type=SAFETENSORS,
    ),
    "mask tensor packed too short": Bad(
        safetensors(tensor("grad_output") | tensor("mask", "U8", (2,), (8, 10)), b"8" * 10),
        "/mask",
        "1 bytes",
        path=f"{BACK}?rate=0.5",
        content_type=SAFETENSORS,
    ),
    "negative noise_shape beside a packed mask": Bad(
        safetensors(tensor("grad_output") | tensor("mask", "U8", (1,), (8, 9)), b"8" * 9),
        "/noise_shape/0",
        "greater than or equal to 0",
        path=f"{BACK}?rate=0.5&noise_shape=-2",
        content_type=SAFETENSORS,
    ),
    # content negotiation
    "no content type": Bad(b"{}", None, "application/x-npy", status=415, content_type=""),
    "form": Bad(b"x=1", None, JSON, status=415, content_type="application/x-www-form-urlencoded"),
    "pickle": Bad(b"", None, SAFETENSORS, status=415, content_type="application/python-pickle"),
    "accept html": Bad(forward(), None, SAFETENSORS, status=406, headers={"Accept": "text/html"}),
    "accept nothing": Bad(forward(), None, NPY, status=406, headers={"Accept": "*/*;q=0"}),
    "accept bfloat16 as npy": Bad(
        forward(dtype="bfloat16"), None, "npy has no bfloat16", status=406, headers={"Accept": NPY}
    ),
    # paths and methods
    "unknown path": Bad(b"", None, "/dropout/sideways", status=404, path="/dropout/sideways"),
}


@pytest.mark.parametrize("bad", CASES.values(), ids=CASES.keys())
def test_bad_input_is_told(service: httpx.Client, bad: Bad):
    body = bad.body if isinstance(bad.body, bytes | str) else json.dumps(bad.body)
    headers = {"Content-Type": bad.content_type} if bad.content_type else {}
    answer = service.post(bad.path, content=body, headers=headers | bad.headers)
    problem = answer.json()
    assert answer.status_code == bad.status, problem
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert problem["status"] == bad.status
    if bad.pointer is None:
        assert bad.says in problem["detail"]
    else:
        told = {error["pointer"]: error["message"] for error in problem["errors"]}
        assert bad.pointer in told, problem
        assert bad.says in told[bad.pointer]


def test_the_wrong_method_is_told(service: httpx.Client):
    answer = service.get("/dropout/forward")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"
    assert "use POST" in answer.json()["detail"]


def test_every_method_of_a_path_is_told(service: httpx.Client):
    answer = service.put("/datasets")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD, POST"
    assert "use GET, HEAD, POST" in answer.json()["detail"]


def test_a_query_parameter_that_occurs_twice_is_told(service: httpx.Client):
    answer = service.get("/jobs?limit=1&limit=2")
    assert answer.status_code == 422
    assert [fault["pointer"] for fault in answer.json()["errors"]] == ["/limit"]
    assert answer.json()["detail"].startswith("/limit: ")


def test_an_unknown_query_parameter_of_any_route_is_told(service: httpx.Client):
    answer = service.get("/dropout/variants?colour=red")
    assert answer.status_code == 422
    assert answer.json()["errors"] == [
        {"pointer": "/colour", "message": "unknown query parameter; this operation has none"}
    ]


@pytest.mark.parametrize("cut", range(0, 150, 7))
@pytest.mark.parametrize("form", [NPY, SAFETENSORS])
def test_no_cut_of_a_binary_body_is_accepted(service: httpx.Client, form: str, cut: int):
    whole = npy(FLOATS) if form == NPY else safetensors(tensor(shape=(2, 3), offsets=(0, 24)), FLOATS.tobytes())
    answer = service.post(RATE, content=whole[: min(cut, len(whole) - 1)], headers={"Content-Type": form})
    assert answer.status_code == 422, answer.text


@pytest.mark.parametrize("seed", range(40))
def test_no_flipped_byte_is_a_server_error(service: httpx.Client, seed: int):
    rng = np.random.default_rng(seed)
    form, whole = [
        (NPY, npy(FLOATS)),
        (SAFETENSORS, safetensors(tensor(shape=(2, 3), offsets=(0, 24)), FLOATS.tobytes())),
        (JSON, json.dumps(forward(x=encoded(data=base64.b64encode(FLOATS[0, :2]).decode()))).encode()),
    ][seed % 3]
    broken = bytearray(whole)
    for at in rng.integers(len(whole), size=1 + seed % 4):
        broken[at] = rng.integers(256)
    path = "/dropout/forward" if form == JSON else RATE
    answer = service.post(path, content=bytes(broken), headers={"Content-Type": form})
    assert answer.status_code in {200, 422}, answer.text
