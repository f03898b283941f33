from __future__ import annotations

import base64
import io
import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load, save
from sample_arrays import npy

from dropout_service.kernels.dropout import standard

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

NPY = {"Content-Type": "application/x-npy"}
SAFETENSORS = {"Content-Type": "application/vnd.safetensors"}
X = np.arange(24, dtype=np.float32).reshape(4, 6) + 1


def from_npy(content: bytes) -> np.ndarray[Any, Any]:
    return np.load(io.BytesIO(content), allow_pickle=False)


def metadata_of(content: bytes, folder: Path) -> dict[str, str]:
    path = folder / "answer.safetensors"
    path.write_bytes(content)
    with safe_open(path, framework="np") as file:
        return file.metadata()


def test_the_simplest_request(service: httpx.Client):
    answer = service.post("/dropout/forward", json={"x": [[1, 2], [3, 4]], "rate": 0.5}).json()
    assert set(answer) == {
        "y",
        "dtype",
        "shape",
        "variant",
        "rate",
        "effective_rate",
        "scale",
        "seed",
        "offset",
        "algorithm",
    }
    x = np.array([[1, 2], [3, 4]])
    y = np.array(answer["y"])
    assert ((y == 0) | (y == 2 * x)).all()
    assert 0 <= answer["seed"] < 2**53
    assert (answer["dtype"], answer["shape"], answer["scale"]) == ("float64", [2, 2], 2.0)
    again = service.post("/dropout/forward", json={"x": [[1, 2], [3, 4]], "rate": 0.5, "seed": answer["seed"]})
    assert again.json() == answer


def test_a_drawn_seed_differs_from_request_to_request(service: httpx.Client):
    seeds = {service.post("/dropout/forward", json={"x": 1, "rate": 0.5}).json()["seed"] for _ in range(5)}
    assert len(seeds) == 5


@pytest.mark.parametrize("path", ["forward", "backward"])
def test_every_form_gives_what_the_kernel_gives(service: httpx.Client, path: str):
    name = "x" if path == "forward" else "grad_output"
    output = "y" if path == "forward" else "grad_input"
    kernel = standard.forward if path == "forward" else standard.backward
    expected = kernel(X, 0.3, seed=2**63 + 5, offset=9)
    parameters = {"rate": 0.3, "seed": 2**63 + 5, "offset": 9}
    as_json = service.post(f"/dropout/{path}", json={name: X.tolist(), "dtype": "float32", **parameters}).json()
    as_npy = service.post(f"/dropout/{path}", params=parameters, content=npy(X), headers=NPY)
    as_tensors = service.post(f"/dropout/{path}", params=parameters, content=save({name: X}), headers=SAFETENSORS)
    assert np.array_equal(np.array(as_json[output], np.float32), expected)
    assert np.array_equal(from_npy(as_npy.content), expected)
    assert np.array_equal(load(as_tensors.content)[output], expected)
    assert as_npy.headers["dropout-seed"] == str(2**63 + 5)
    assert as_npy.headers["dropout-offset"] == "9"
    assert float(as_npy.headers["dropout-effective-rate"]) == as_json["effective_rate"] == standard.effective_rate(0.3)
    assert float(as_npy.headers["dropout-scale"]) == as_json["scale"] == standard.scale(0.3)
    assert as_npy.headers["dropout-algorithm"] == as_json["algorithm"] == standard.ALGORITHM
    assert as_npy.headers["content-type"] == "application/x-npy"


def test_backward_from_the_seed_and_from_each_form_of_the_mask(service: httpx.Client):
    sent = {"x": X.tolist(), "rate": 0.4, "seed": 3, "dtype": "float32"}
    forward = service.post("/dropout/forward", json={**sent, "return_mask": "bool"}).json()
    packed = service.post("/dropout/forward", json={**sent, "return_mask": "packed"}).json()["mask"]
    encoded = service.post(
        "/dropout/forward",
        json={
            "x": {"dtype": "float64", "shape": [4, 6], "data": service_base64(np.ones((4, 6)))},
            "rate": 0.4,
            "seed": 3,
            "return_mask": "bool",
        },
    ).json()["mask"]
    assert encoded["dtype"] == "bool"
    assert packed["dtype"] == "packed"
    assert np.array_equal(forward["mask"], np.array(forward["y"]) != 0)
    expected = standard.backward(X, 0.4, seed=3)
    gradient = {"grad_output": X.tolist(), "rate": 0.4, "dtype": "float32"}
    for source in ({"seed": 3}, {"mask": forward["mask"]}, {"mask": packed}, {"mask": encoded}):
        answer = service.post("/dropout/backward", json={**gradient, **source}).json()
        assert np.array_equal(np.array(answer["grad_input"], np.float32), expected), source
        assert answer["seed"] == source.get("seed")


def service_base64(array: np.ndarray[Any, Any]) -> str:
    return base64.b64encode(array.tobytes()).decode()


@pytest.mark.parametrize("kind", ["bool", "packed"])
@pytest.mark.parametrize("noise_shape", [None, "1,6", "[4, 1]"])
def test_the_mask_of_a_safetensors_answer_can_be_sent_back(
    service: httpx.Client, tmp_path: Path, kind: str, noise_shape: str | None
):
    query = {"rate": "0.4", "seed": "3", "return_mask": kind} | ({"noise_shape": noise_shape} if noise_shape else {})
    answer = service.post("/dropout/forward", params=query, content=save({"x": X}), headers=SAFETENSORS)
    tensors = load(answer.content)
    facts = metadata_of(answer.content, tmp_path)
    assert facts["seed"] == "3"
    assert facts["algorithm"] == standard.ALGORITHM
    sizes = json.loads(facts["mask_shape"])
    assert tensors["mask"].dtype == (bool if kind == "bool" else np.uint8)
    body = save({"grad_output": np.ones_like(X), "mask": tensors["mask"]}, {"rate": "0.4", "mask_shape": str(sizes)})
    gradient = load(service.post("/dropout/backward", content=body, headers=SAFETENSORS).content)["grad_input"]
    assert np.array_equal(gradient != 0, tensors["y"] != 0)
    if kind == "packed":  # the noise shape of the forward pass tells the mask's shape too
        del query["seed"], query["return_mask"]
        body = save({"grad_output": np.ones_like(X), "mask": tensors["mask"]})
        again = service.post("/dropout/backward", params=query, content=body, headers=SAFETENSORS)
        assert np.array_equal(load(again.content)["grad_input"], gradient)


def test_parameters_may_stand_in_the_metadata(service: httpx.Client):
    metadata = {"rate": "0.5", "seed": "7", "training": "true", "noise_shape": "[null, 1]", "scaling": "classic"}
    answer = service.post("/dropout/forward", content=save({"x": X}, metadata), headers=SAFETENSORS)
    expected = standard.forward(X, 0.5, seed=7, scaling="classic", noise_shape=(None, 1))
    assert np.array_equal(load(answer.content)["y"], expected)


@pytest.mark.parametrize(
    ("query", "x", "expected"),
    [
        ({"rate": 0.5, "training": False}, [1.0, -2.0], [1.0, -2.0]),
        ({"rate": 0.5, "training": False, "scaling": "classic"}, [1.0, -2.0], [0.5, -1.0]),
        ({"rate": 0}, [1.5, -2.0], [1.5, -2.0]),
        ({"rate": 1}, [1.0, "NaN"], [0.0, 0.0]),
        ({"rate": 0}, ["NaN", "Infinity", "-Infinity", 1], ["NaN", "Infinity", "-Infinity", 1.0]),
        ({"rate": 0.5, "seed": 1}, [], []),
        ({"rate": 0}, 3, 3.0),
        ({"rate": 0}, [[], []], [[], []]),
        ({"rate": 0, "dtype": "float16"}, [65504, 0.1], [65504.0, float(np.float16(0.1))]),
        ({"rate": 0, "dtype": "bfloat16"}, [1.0, 0.1], [1.0, float(np.float32(ml_dtypes.bfloat16(0.1)))]),
        ({"rate": 0}, [9007199254740993, 0.1], [9007199254740992.0, 0.1]),
    ],
)
def test_semantics_over_json(service: httpx.Client, query: dict[str, Any], x: Any, expected: Any):
    answer = service.post("/dropout/forward", json={"x": x, **query})
    assert answer.status_code == 200, answer.text
    assert answer.json()["y"] == expected


def test_evaluation_answers_a_mask_that_keeps_all(service: httpx.Client):
    sent = {"x": [1, 2], "rate": 0.9, "seed": 1, "training": False, "return_mask": "bool"}
    assert service.post("/dropout/forward", json=sent).json()["mask"] == [True, True]


def test_backward_in_evaluation_needs_no_seed(service: httpx.Client):
    sent = {"grad_output": [1, 2], "rate": 0.5, "training": False}
    assert service.post("/dropout/backward", json=sent).json()["grad_input"] == [1.0, 2.0]


def test_a_prefix_has_the_prefix_of_the_mask_and_offsets_differ(service: httpx.Client):
    def masks(n: int, offset: int) -> Any:
        sent = {"x": [1] * n, "rate": 0.5, "seed": 11, "offset": offset, "return_mask": "bool"}
        return service.post("/dropout/forward", json=sent).json()["mask"]

    assert masks(1000, 0)[:137] == masks(137, 0)
    assert masks(137, 0) != masks(137, 1)


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f4", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_npy_of_every_kind(service: httpx.Client, dtype: str, order: Any, version: tuple[int, int]):
    x = np.asarray(X.astype(dtype), order=order)
    answer = service.post(
        "/dropout/forward", params={"rate": 0.3, "seed": 1}, content=npy(x, version=version), headers=NPY
    )
    y = from_npy(answer.content)
    native = x.astype(x.dtype.newbyteorder("="))
    assert y.dtype == native.dtype
    assert np.array_equal(y, standard.forward(native, 0.3, seed=1))


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,), (2, 3, 4, 5)])
def test_npy_of_every_shape(service: httpx.Client, shape: tuple[int, ...]):
    x = np.ones(shape, np.float32)
    answer = service.post("/dropout/forward?rate=0.5&seed=1", content=npy(x), headers=NPY)
    assert np.array_equal(from_npy(answer.content), standard.forward(x, 0.5, seed=1))


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
def test_safetensors_of_every_dtype(service: httpx.Client, dtype: Any):
    x = X.astype(dtype)
    name = {"float16": "F16", "bfloat16": "BF16", "float32": "F32", "float64": "F64"}[x.dtype.name]
    header = json.dumps({"x": {"dtype": name, "shape": [4, 6], "data_offsets": [0, x.nbytes]}}).encode()
    # A header of odd length leaves the elements unaligned.
    header += b" " * (1 - len(header) % 2)
    body = len(header).to_bytes(8, "little") + header + x.tobytes()
    answer = service.post("/dropout/forward?rate=0.3&seed=1", content=body, headers=SAFETENSORS)
    assert answer.status_code == 200, answer.text
    length = int.from_bytes(answer.content[:8], "little")
    described = json.loads(answer.content[8 : 8 + length])["y"]
    begin, end = described["data_offsets"]
    y = np.frombuffer(answer.content[8 + length :][begin:end], x.dtype).reshape(described["shape"])
    assert described["dtype"] == name
    assert np.array_equal(y, standard.forward(x, 0.3, seed=1))


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("*/*", "application/x-npy"),
        ("application/json", "application/json"),
        ("application/vnd.safetensors, application/json;q=0.5", "application/vnd.safetensors"),
        ("text/html, application/json;q=0.1", "application/json"),
        ("application/*", "application/x-npy"),
    ],
)
def test_the_answer_follows_accept(service: httpx.Client, accept: str, expected: str):
    answer = service.post("/dropout/forward?rate=0.3&seed=1", content=npy(X), headers={**NPY, "Accept": accept})
    assert answer.headers["content-type"] == expected
    y = standard.forward(X, 0.3, seed=1)
    match expected:
        case "application/json":
            assert np.array_equal(np.array(answer.json()["y"], np.float32), y)
        case "application/x-npy":
            assert np.array_equal(from_npy(answer.content), y)
        case _:
            assert np.array_equal(load(answer.content)["y"], y)


def test_a_chunked_body_is_read(service: httpx.Client):
    body = npy(X)
    answer = service.post(
        "/dropout/forward?rate=0.3&seed=1", content=iter([body[:5], body[5:100], body[100:]]), headers=NPY
    )
    assert np.array_equal(from_npy(answer.content), standard.forward(X, 0.3, seed=1))


@pytest.mark.parametrize(("length", "says"), [("151", "longer than its Content-Length"), ("224", None)])
def test_a_declared_length_that_is_wrong(service: httpx.Client, length: str, says: str | None):
    answer = service.post("/dropout/forward?rate=0&seed=1", content=npy(X), headers={**NPY, "Content-Length": length})
    assert answer.status_code == 422 if says else 200
    assert says is None or says in answer.json()["errors"][0]["message"]


def test_concurrent_requests_do_not_mix(service: httpx.Client):
    def exchange(seed: int) -> bool:
        x = np.full((300, 700), seed + 1, np.float32)
        answer = service.post("/dropout/forward", params={"rate": 0.5, "seed": seed}, content=npy(x), headers=NPY)
        return np.array_equal(from_npy(answer.content), standard.forward(x, 0.5, seed=seed))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(exchange, range(32)))
