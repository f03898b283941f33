"""Small requests that ask for much: a real server answers each at once, and its memory hardly moves."""

from __future__ import annotations

import io
import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
from live_server import serve
from sample_arrays import npy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from live_server import LiveServer

MB = 1_000_000
JSON = "application/json"
NPY = "application/x-npy"
SAFETENSORS = "application/vnd.safetensors"

MANY = 20_000_000_000
SQUARE = (100_000, 100_000, 0)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with serve(tmp_path_factory.mktemp("bounds"), {"DROPOUT_SERVICE_DISPATCHER": "false"}) as running:
        httpx.post(f"{running.url}/jobs", json=job(), timeout=60)  # what is loaded once is loaded
        yield running


@contextmanager
def at_most(server: LiveServer, more_bytes: int) -> Iterator[None]:
    """Watch the peak of the server's memory, which the kernel keeps."""
    process = Path(f"/proc/{server.process.pid}")
    process.joinpath("clear_refs").write_text("5", encoding="ascii")
    before = resident(process)
    yield
    assert resident(process, peak=True) - before < more_bytes


def resident(process: Path, *, peak: bool = False) -> int:
    name = "VmHWM:" if peak else "VmRSS:"
    line = next(line for line in process.joinpath("status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


def post(server: LiveServer, path: str, content: bytes, media_type: str = JSON, **headers: str) -> httpx.Response:
    return httpx.post(
        f"{server.url}{path}", content=content, headers={"Content-Type": media_type, **headers}, timeout=60
    )


def empty(shape: tuple[int, ...]) -> dict[str, Any]:
    return {"dtype": "float32", "shape": list(shape), "data": ""}


def job(**fields: Any) -> dict[str, Any]:
    data = {"x": [[0, 1], [1, 0], [2, 1], [3, 3]], "y": [1, 0, 1, 0]}
    return {"task": "regression", "data": data, "model": {"hidden": [4], "dropout": 0}, "epochs": 1, **fields}


def npy_of(shape: tuple[int, ...], dtype: str, data: bytes = b"") -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue() + data


def safetensors(tensors: dict[str, Any], data: bytes = b"", **metadata: str) -> bytes:
    header = json.dumps({"__metadata__": metadata, **tensors} if metadata else tensors).encode()
    return len(header).to_bytes(8, "little") + header + data


EMPTY: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "noise_shape": ((0, MANY), {"noise_shape": [1, None]}),
    "batchwise": ((0, MANY), {"variant": "batchwise"}),
    "locked": ((0, MANY), {"variant": "locked", "axis": 0}),
    "drop_path": ((MANY, 0), {"variant": "drop_path"}),
    "feature1d": (SQUARE, {"variant": "feature1d"}),
    "feature2d": ((*SQUARE, 1), {"variant": "feature2d"}),
    "feature3d": ((*SQUARE, 1, 1), {"variant": "feature3d"}),
    "feature_alpha": (SQUARE, {"variant": "feature_alpha"}),
    "alpha": (SQUARE, {"variant": "alpha"}),
    "gaussian": (SQUARE, {"variant": "gaussian"}),
    "dropconnect": (SQUARE, {"variant": "dropconnect"}),
    "dropblock": (SQUARE, {"variant": "dropblock", "block_size": 1}),
    "concrete": (SQUARE, {"variant": "concrete"}),
}


@pytest.mark.parametrize("name", EMPTY)
def test_an_empty_array_draws_nothing(server: LiveServer, name: str):
    shape, parameters = EMPTY[name]
    fields = {"rate": 0.5, "seed": 1, **parameters}
    x = {"x": empty(shape)}
    with at_most(server, 50 * MB):
        forward = post(server, "/dropout/forward", json.dumps({**x, **fields}).encode())
        gradient = {"grad_output": empty(shape), **(x if name == "concrete" else {})}
        backward = post(server, "/dropout/backward", json.dumps({**gradient, **fields}).encode())
    assert forward.status_code == backward.status_code == 200, forward.text + backward.text
    assert forward.json()["y"] == backward.json()["grad_input"] == empty(shape)


@pytest.mark.parametrize("name", ["noise_shape", "batchwise", "locked", "drop_path", "feature1d", "feature_alpha"])
@pytest.mark.parametrize("returned", ["bool", "packed"])
def test_the_mask_of_an_empty_array_is_not_drawn_to_be_returned(server: LiveServer, name: str, returned: str):
    shape, parameters = EMPTY[name]
    fields = {"x": empty(shape), "rate": 0.5, "return_mask": returned, **parameters}
    with at_most(server, 50 * MB):
        answer = post(server, "/dropout/forward", json.dumps(fields).encode())
    assert_over_budget(answer, "MAX_MASK_ELEMENTS", "/return_mask")


def test_a_given_mask_is_not_broadcast_to_an_empty_array(server: LiveServer):
    mask = {"dtype": "bool", "shape": [1, 100_000, 1], "data": "AAAA" * 33_333 + "AA=="}
    fields = {"grad_output": empty(SQUARE), "rate": 0.5, "mask": mask}
    with at_most(server, 50 * MB):
        answers = [
            post(server, "/dropout/backward", json.dumps({**fields, "variant": variant}).encode())
            for variant in ("standard", "alpha", "dropconnect", "dropblock")
        ]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 200]


@pytest.mark.parametrize("metadata", [{}, {"mask_shape": f"[1, {MANY}]"}])
def test_a_packed_mask_is_not_unpacked_to_a_shape_without_bounds(server: LiveServer, metadata: dict[str, str]):
    tensors = {
        "grad_output": {"dtype": "F32", "shape": [0, MANY], "data_offsets": [0, 0]},
        "mask": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]},
    }
    content = safetensors(tensors, b"1", rate="0.5", variant="batchwise", **metadata)
    with at_most(server, 50 * MB):
        answer = post(server, "/dropout/backward", content, SAFETENSORS)
    assert_over_budget(answer, "MAX_MASK_ELEMENTS", "/mask")


def test_lists_without_numbers_are_not_answered_without_end(server: LiveServer):
    with at_most(server, 50 * MB):
        answer = post(server, "/dropout/forward?rate=0.5", npy_of((MANY, 0), "<f4"), NPY, Accept=JSON)
    assert_over_budget(answer, "MAX_JSON_VALUES", None)
    assert SAFETENSORS in answer.json()["detail"]


BROKEN_JOBS: dict[str, tuple[bytes, str]] = {
    "a target of nulls": (
        json.dumps(job(data={"x": [[1.0]] * 10, "y": [None] * 150_000})).encode(),
        "/data/y/0",
    ),
    "rows of nulls": (json.dumps(job(data={"x": [None] * 400_000, "y": [1]})).encode(), "/data/x/0"),
    "cells of nulls": (json.dumps(job(data={"x": [[None] * 400_000], "y": [1]})).encode(), "/data/x/0/0"),
    "features of nulls": (json.dumps(job(data={"dataset": "a", "features": [None] * 400_000})).encode(), None),
    "layers of nulls": (json.dumps(job(model={"hidden": [None] * 400_000})).encode(), None),
    "dropouts of nulls": (json.dumps(job(model={"hidden": [1], "dropout": [None] * 400_000})).encode(), None),
    "unknown names": (json.dumps({f"n{i}": 0 for i in range(200_000)}).encode(), ""),
    "unknown names within": (json.dumps(job(model={f"n{i}": 0 for i in range(200_000)})).encode(), "/model"),
    "unknown parameters": (
        json.dumps(
            job(model={"dropout": [{"variant": "alpha", "rate": 0.5, **{f"n{i}": 0 for i in range(200_000)}}]})
        ).encode(),
        "/model/dropout/0",
    ),
    "layouts of nulls": (
        json.dumps(job(model={"dropout": {"variant": "alpha", "rate": 0.5, "shape": [None] * 400_000}})).encode(),
        "/model/dropout/shape/0",
    ),
    "layouts of many axes": (
        json.dumps(job(model={"dropout": {"variant": "alpha", "rate": 0.5, "shape": [2] * 400_000}})).encode(),
        "/model/dropout/shape",
    ),
    "a long unknown name": (json.dumps(job(**{"n" * 4_000_000: 0})).encode(), None),
}


@pytest.mark.parametrize("name", BROKEN_JOBS)
def test_a_validation_ends_at_its_first_faults(server: LiveServer, name: str):
    content, pointer = BROKEN_JOBS[name]
    with at_most(server, 60 * MB + 8 * len(content)):
        answer = post(server, "/jobs", content)
    assert answer.status_code == 422
    pointers = [fault["pointer"] for fault in answer.json()["errors"]]
    assert len(pointers) == 1
    assert pointer is None or pointers == [pointer]


def header(**fields: Any) -> bytes:
    return safetensors({"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4], **fields}}, bytes(4))


BROKEN_ARRAYS: dict[str, tuple[str, bytes, str]] = {
    "a noise shape of texts": (
        JSON,
        json.dumps({"x": [1], "rate": 0.5, "noise_shape": ["a"] * 400_000}).encode(),
        "/noise_shape/0",
    ),
    "a noise shape of many axes": (
        JSON,
        json.dumps({"x": [1], "rate": 0.5, "noise_shape": [1] * 400_000}).encode(),
        "/noise_shape",
    ),
    "a shape of nulls": (
        JSON,
        json.dumps({"x": {"dtype": "float32", "shape": [None] * 400_000, "data": ""}, "rate": 0.5}).encode(),
        "/x/shape/0",
    ),
    "names": (JSON, json.dumps({f"n{i}": 0 for i in range(200_000)}).encode(), ""),
    "a tensor's shape of nulls": (SAFETENSORS, header(shape=[None] * 150_000), "/x"),
    "a tensor's names": (SAFETENSORS, header(**{f"n{i}": 0 for i in range(80_000)}), "/x"),
    "metadata of numbers": (
        SAFETENSORS,
        safetensors({"__metadata__": {f"n{i}": 0 for i in range(80_000)}}),
        "/__metadata__",
    ),
    "names of metadata": (SAFETENSORS, safetensors({"__metadata__": {f"n{i}": "0" for i in range(70_000)}}), ""),
}


@pytest.mark.parametrize("name", BROKEN_ARRAYS)
def test_the_faults_of_an_array_have_an_end(server: LiveServer, name: str):
    media_type, content, pointer = BROKEN_ARRAYS[name]
    with at_most(server, 40 * MB + 8 * len(content)):
        answer = post(server, "/dropout/forward", content, media_type)
    assert answer.status_code == 422
    assert [fault["pointer"] for fault in answer.json()["errors"]] == [pointer]


def test_many_tensors_are_told_of_in_part(server: LiveServer):
    tensors = {f"n{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(10_000)}
    with at_most(server, 40 * MB):
        answer = post(server, "/dropout/forward?rate=0.5", safetensors(tensors), SAFETENSORS)
    assert answer.status_code == 422
    assert len(answer.json()["errors"]) == 20


@pytest.mark.parametrize("path", ["/jobs", "/dropout/forward", "/models/model_0/predict"])
@pytest.mark.parametrize("item", ["[]", "{}", "7"])
def test_json_of_too_many_values_is_not_parsed(server: LiveServer, path: str, item: str):
    content = b'{"x": [' + f"{item},".encode() * (1 << 22) + b"1]}"
    with at_most(server, 60 * MB + 3 * len(content)):
        answer = post(server, path, content)
    if path.startswith("/models"):
        assert answer.status_code == 404  # it is asked for first
    else:
        assert_over_budget(answer, "MAX_JSON_VALUES", None)


def test_json_beyond_its_bytes_is_not_read(server: LiveServer):
    with at_most(server, 20 * MB):
        answer = post(server, "/dropout/forward", bytes((1 << 26) + 1))
    assert answer.status_code == 413
    assert answer.json()["excess"] == {
        "setting": "DROPOUT_SERVICE_MAX_JSON_BYTES",
        "limit": 1 << 26,
        "value": (1 << 26) + 1,
    }


@pytest.mark.parametrize("depth", [199, 1_000_000])
def test_json_is_not_nested_without_end(server: LiveServer, depth: int):
    for path in ("/jobs", "/dropout/forward"):
        answer = post(server, path, b'{"x": ' + b"[" * depth + b"]" * depth + b"}")
        assert answer.status_code == 422
        assert "nested" in answer.text or "recursion limit" in answer.text or "required" in answer.text


def wide_npz(columns: int) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, x=np.zeros((1, columns), np.uint8), y=np.zeros(1))
    return file.getvalue()


WIDE: dict[str, tuple[str, bytes]] = {
    "npy": (NPY, npy(np.zeros((1, 1_000_000), np.uint8))),
    "npz": ("application/x-npz", wide_npz(1_000_000)),
    "csv": ("text/csv", b",".join(b"c%d" % i for i in range(100_000)) + b"\n"),
}


@pytest.mark.parametrize("kind", WIDE)
def test_a_table_has_a_bound_of_columns(server: LiveServer, kind: str):
    media_type, content = WIDE[kind]
    with at_most(server, 60 * MB):
        answer = post(server, "/datasets", content, media_type)
    assert_over_budget(answer, "MAX_COLUMNS", None)


def test_the_description_of_a_wide_table_has_a_bound(server: LiveServer):
    values = np.random.default_rng(0).integers(0, 256, (250, 9_999), np.uint8)
    with at_most(server, 400 * MB):
        answer = post(server, "/datasets", npy(values), NPY)
    assert answer.status_code == 201
    assert len(answer.content) < 10 * MB


def test_arrays_in_place_have_a_bound_of_columns(server: LiveServer):
    content = json.dumps(job(data={"x": [[0] * 20_000] * 2, "y": [0, 1]})).encode()
    with at_most(server, 30 * MB):
        answer = post(server, "/jobs", content)
    assert_over_budget(answer, "MAX_COLUMNS", "/data/x")


@pytest.mark.parametrize(
    ("fields", "setting", "pointer"),
    [
        ({"model": {"hidden": [65_536, 65_536], "dropout": 0}}, "MAX_PARAMETERS", "/model/hidden"),
        ({"model": {"hidden": [65_536] * 64, "dropout": 0.5}}, "MAX_PARAMETERS", "/model/hidden"),
        ({"model": {"hidden": [65_536, 1] * 32, "dropout": 0}}, "MAX_ACTIVATIONS", "/model/hidden"),
    ],
)
def test_a_network_is_weighed_before_it_is_made(server: LiveServer, fields: dict[str, Any], setting: str, pointer: str):
    with at_most(server, 30 * MB):
        answer = post(server, "/jobs", json.dumps(job(**fields)).encode())
    assert_over_budget(answer, setting, pointer)


def test_integers_of_any_size_are_told_not_failed_on(server: LiveServer):
    x = [[0], [1], [2]]
    for y, pointer in (([2**70, 1, 2], "/data/y/0"), ([1, 2, -(10**400)], "/data/y/2")):
        answer = post(server, "/jobs", json.dumps(job(data={"x": x, "y": y})).encode())
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer), answer.text
        assert "64 bits" in answer.json()["detail"]
    answer = post(server, "/jobs", b'{"task": "regression", "data": {"x": [[0],[1]], "y": [0, 1' + b"0" * 5000 + b"]}}")
    assert answer.status_code == 422
    answer = post(server, "/jobs", json.dumps(job(data={"x": [[10**400], [1]], "y": [0, 1]})).encode())
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/data/x/0/0")


@pytest.mark.parametrize("header", ["1" + "0" * 5000 + ",2", "1,1" + "0" * 5000])
def test_a_header_of_thousands_of_digits_is_told_not_failed_on(server: LiveServer, header: str):
    answer = post(server, "/datasets", f"{header}\n1,2\n3,4\n".encode(), "text/csv")
    assert answer.status_code == 422
    assert "looks like data" in answer.json()["detail"]


def assert_over_budget(answer: httpx.Response, setting: str, pointer: str | None) -> None:
    assert answer.status_code == 422, answer.text[:500]
    problem = answer.json()
    assert problem["type"] == "urn:dropout-service:problem:over-budget"
    assert problem["excess"]["setting"] == f"DROPOUT_SERVICE_{setting}"
    assert problem["excess"]["value"] > problem["excess"]["limit"]
    for told in (problem["excess"]["setting"], f"{problem['excess']['limit']:,}", f"{problem['excess']['value']:,}"):
        assert told in problem["detail"]
    assert [fault["pointer"] for fault in problem["errors"]] == ([] if pointer is None else [pointer])
