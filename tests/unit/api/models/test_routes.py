"""The HTTP of models on the real application, with models that were trained for it."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
from safetensors.numpy import load, save
from sample_arrays import npy

from dropout_service.app import create_app
from dropout_service.blobs import BlobStore
from dropout_service.database.engine import open_database
from dropout_service.models.registry import ModelRegistry
from dropout_service.settings import Settings
from dropout_service.training.data import TrainingData
from dropout_service.training.spec import TrainingSpec
from dropout_service.training.trainer import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import httpx
    from fastapi import FastAPI

    from dropout_service.training.trained import TrainedModel

NPY = {"Content-Type": "application/x-npy"}
SAFETENSORS = {"Content-Type": "application/vnd.safetensors"}
ROWS = np.random.default_rng(1).normal(size=(5, 3))


def trained(*, targets: tuple[str, ...] | None = None, **fields: Any) -> TrainedModel:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3))
    base: dict[str, Any] = {
        "task": "classification",
        "data": {"dataset": "sha256-0"},
        "model": {"hidden": [8], "dropout": 0.5},
        "epochs": 3,
    }
    spec = TrainingSpec.model_validate(base | fields)
    regression = spec.task == "regression"
    y = x[:, 0] * 3 + 100 if regression else (x[:, 0] > 0).astype(np.int64) + (x[:, 1] > 0)
    classes = None if regression else ("lo", "mid", "hi")
    if targets:
        y = np.column_stack([y, *(-100 * k - y for k in range(1, len(targets)))])
    trainer = Trainer(spec, TrainingData(x, y, ("a", "b", "c"), "y", classes, targets))
    list(trainer.run())
    return trainer.finish()


@pytest.fixture
def registry(settings: Settings, client: httpx.Client) -> Iterator[ModelRegistry]:
    """What a training process has: its own connection to the same database and blobs."""
    assert client is not None
    engine = open_database(settings.database_url)
    yield ModelRegistry(engine, BlobStore(settings.blob_url))
    engine.dispose()


@pytest.fixture
def add(registry: ModelRegistry) -> Callable[..., str]:
    def add_model(**fields: Any) -> str:
        draft = registry.put(trained(**fields), job_id="job_1")
        registry.record(draft)
        return draft.id

    return add_model


def facts(content: bytes) -> dict[str, Any]:
    length = int.from_bytes(content[:8], "little")
    metadata = json.loads(content[8 : 8 + length]).get("__metadata__", {})
    return {name: json.loads(value) for name, value in metadata.items()}


def test_read_list_download_delete(client: httpx.Client, add: Callable[..., str]):
    first, second = add(name="größe"), add()
    model = client.get(f"/models/{first}").json()
    assert (model["id"], model["job"], model["name"], model["task"]) == (first, "job_1", "größe", "classification")
    assert model["description"]["classes"] == ["lo", "mid", "hi"]
    assert model["description"]["feature_names"] == ["a", "b", "c"]
    assert model["description"]["weights_digest"] == model["weights_digest"]

    page = client.get("/models", params={"limit": 1}).json()
    assert [entry["id"] for entry in page["items"]] == [second]
    page = client.get("/models", params={"limit": 1, "cursor": page["next_cursor"]}).json()
    assert page == {"items": [model], "next_cursor": None}
    assert client.get("/models", params={"job": "job_2"}).json()["items"] == []

    weights = client.get(f"/models/{first}/weights")
    assert weights.headers["content-type"] == "application/vnd.safetensors"
    assert weights.headers["content-disposition"].startswith('attachment; filename="gr_e.safetensors"')
    sha256 = hashlib.sha256(weights.content).digest()
    assert model["digest"] == f"sha256:{sha256.hex()}"
    assert weights.headers["etag"] == f'"sha256:{sha256.hex()}"'
    assert weights.headers["repr-digest"] == f"sha-256=:{base64.b64encode(sha256).decode()}:"
    assert len(weights.content) == model["size_bytes"]
    assert load(weights.content).keys() == {f"layers.{n}.{part}" for n in (0, 1) for part in ("weight", "bias")}
    whole = client.get(f"/models/{first}/weights", headers={"Range": f"bytes=0-{10**30}"})
    assert (whole.status_code, whole.content) == (206, weights.content)
    # More digits than Python reads as a number.
    for wanted, status in (
        (f"bytes=0-{'9' * 5000}", 206),
        (f"bytes=-{'9' * 5000}", 206),
        (f"bytes={'9' * 5000}-", 416),
    ):
        assert client.get(f"/models/{first}/weights", headers={"Range": wanted}).status_code == status
    part = client.get(f"/models/{first}/weights", headers={"Range": "bytes=8-99"})
    assert (part.status_code, part.content) == (206, weights.content[8:100])
    assert part.headers["repr-digest"] == weights.headers["repr-digest"]
    unchanged = client.get(f"/models/{first}/weights", headers={"If-None-Match": weights.headers["etag"]})
    assert unchanged.status_code == 304

    assert client.delete(f"/models/{first}").status_code == 204
    for method, path in (("GET", ""), ("GET", "/weights"), ("DELETE", "")):
        assert client.request(method, f"/models/{first}{path}").status_code == 404
    assert client.post(f"/models/{first}/predict", json={"x": [[1, 2, 3]]}).status_code == 404


def test_a_model_is_gone_although_its_file_cannot_be_removed_now(
    client: httpx.Client, add: Callable[..., str], settings: Settings
):
    model_id = add()
    blob = settings.data_dir / "blobs" / "models" / model_id
    blob.unlink()
    (blob / "in the way").mkdir(parents=True)
    assert client.delete(f"/models/{model_id}").status_code == 204
    assert client.get(f"/models/{model_id}").status_code == 404
    assert blob.exists()


def test_classes_and_probabilities(client: httpx.Client, add: Callable[..., str]):
    path = f"/models/{add()}/predict"
    answer = client.post(path, json={"x": ROWS.tolist()}).json()
    probabilities = np.array(answer["probabilities"])
    assert probabilities.shape == (5, 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert answer["class_labels"] == ["lo", "mid", "hi"]
    assert answer["classes"] == [answer["class_labels"][index] for index in probabilities.argmax(axis=1)]
    assert {name for name, value in answer.items() if value is None} == {
        "probabilities_std",
        "entropy",
        "mutual_information",
        "mc_samples",
    }
    sampled = client.post(path, json={"x": ROWS.tolist(), "mc_samples": 20, "seed": 7}).json()
    assert (sampled["mc_samples"], sampled["seed"]) == (20, 7)
    assert np.array(sampled["probabilities_std"]).max() > 0
    assert len(sampled["entropy"]) == len(sampled["mutual_information"]) == 5
    assert client.post(path, json={"x": ROWS.tolist(), "mc_samples": 20, "seed": 7}).json() == sampled
    other = client.post(path, json={"x": ROWS.tolist(), "mc_samples": 20, "seed": 8}).json()
    assert other["probabilities"] != sampled["probabilities"]


def test_values(client: httpx.Client, add: Callable[..., str]):
    path = f"/models/{add(task='regression', loss='gaussian_nll')}/predict"
    answer = client.post(path, json={"x": ROWS.tolist()}).json()
    assert answer.keys() == {
        "values",
        "std",
        "aleatoric_std",
        "quantiles",
        "quantile_levels",
        "target_names",
        "mc_samples",
        "seed",
    }
    assert answer["std"] is None
    assert answer["quantiles"] is answer["quantile_levels"] is answer["target_names"] is None
    assert min(answer["aleatoric_std"]) > 0
    assert 80 < np.mean(answer["values"]) < 120
    sampled = client.post(path, json={"x": ROWS.tolist(), "mc_samples": 10}).json()
    assert min(sampled["std"]) > 0


def test_quantiles(client: httpx.Client, add: Callable[..., str]):
    path = f"/models/{add(task='regression', loss='quantile', quantiles=[0.05, 0.5, 0.95])}/predict"
    answer = client.post(path, json={"x": ROWS.tolist()}).json()
    assert answer["quantile_levels"] == [0.05, 0.5, 0.95]
    quantiles = np.array(answer["quantiles"])
    assert quantiles.shape == (len(ROWS), 3)
    assert (np.diff(quantiles) >= 0).all()
    assert answer["values"] == quantiles[:, 1].tolist()
    binary = client.post(path, content=npy(ROWS), headers=NPY).content
    np.testing.assert_array_equal(load(binary)["quantiles"], quantiles)


def test_several_targets(client: httpx.Client, add: Callable[..., str]):
    path = f"/models/{add(task='regression', loss='quantile', targets=('p', 'q'))}/predict"
    answer = client.post(path, json={"x": ROWS.tolist(), "mc_samples": 4}).json()
    assert answer["target_names"] == ["p", "q"]
    values, quantiles = np.array(answer["values"]), np.array(answer["quantiles"])
    assert quantiles.shape == (len(ROWS), 2, 3)
    np.testing.assert_array_equal(values, quantiles[:, :, 1])
    assert np.array(answer["std"]).shape == (len(ROWS), 2)
    assert (values[:, 1] < values[:, 0]).all(), "each in its unit"
    binary = client.post(path, content=npy(ROWS), params={"mc_samples": 4}, headers=NPY).content
    np.testing.assert_array_equal(load(binary)["quantiles"], quantiles)


def test_every_form_of_a_request_gives_the_same_prediction(client: httpx.Client, add: Callable[..., str]):
    path = f"/models/{add()}/predict"
    rows = ROWS.astype(np.float32)
    params = {"mc_samples": 5, "seed": 3}
    reference = client.post(path, json={"x": rows.tolist(), **params}).json()
    encoded = {"dtype": "float32", "shape": [5, 3], "data": base64.b64encode(rows.tobytes()).decode()}
    assert client.post(path, json={"x": encoded, **params}).json() == reference
    accept_json = {"Accept": "application/json"}
    assert client.post(path, content=npy(rows), params=params, headers={**NPY, **accept_json}).json() == reference
    binaries = (
        client.post(path, content=npy(rows), params=params, headers=NPY),
        client.post(path, content=save({"x": rows}), params=params, headers=SAFETENSORS),
        client.post(path, content=save({"x": rows}, {"mc_samples": "5", "seed": "3"}), headers=SAFETENSORS),
        client.post(path, json={"x": rows.tolist(), **params}, headers={"Accept": SAFETENSORS["Content-Type"]}),
    )
    for answer in binaries:
        assert answer.headers["content-type"] == "application/vnd.safetensors"
        tensors = load(answer.content)
        assert tensors.keys() == {"probabilities", "probabilities_std", "entropy", "mutual_information"}
        for name, tensor in tensors.items():
            np.testing.assert_array_equal(tensor, reference[name])
        assert facts(answer.content) == {"class_labels": ["lo", "mid", "hi"], "mc_samples": 5, "seed": 3}


@pytest.mark.parametrize(
    ("form", "write"),
    [
        ("application/vnd.apache.parquet", pyarrow.parquet.write_table),
        ("application/vnd.apache.arrow.file", pyarrow.feather.write_feather),
        ("application/octet-stream", pyarrow.parquet.write_table),
    ],
)
def test_typed_tables_give_the_same_prediction(
    client: httpx.Client, add: Callable[..., str], form: str, write: Callable[[pa.Table, Any], None]
):
    path = f"/models/{add()}/predict"
    params = {"mc_samples": 5, "seed": 3}
    file = io.BytesIO()
    write(pa.table({"c": ROWS[:, 2], "a": ROWS[:, 0], "none of the model": ["x"] * 5, "b": ROWS[:, 1]}), file)
    answer = client.post(path, content=file.getvalue(), params=params, headers={"Content-Type": form})
    assert answer.status_code == 200, answer.text
    reference = client.post(path, json={"x": ROWS.tolist(), **params}, headers={"Accept": SAFETENSORS["Content-Type"]})
    assert answer.content == reference.content


def test_the_content_tells_its_form(client: httpx.Client, add: Callable[..., str]):
    path = f"/models/{add()}/predict"
    octets = {"Content-Type": "application/octet-stream", "Accept": "application/json"}
    reference = client.post(path, json={"x": [[1, 2, 3]]}).json()
    for content in (b"a,b,c\n1,2,3\n", npy(np.array([[1.0, 2.0, 3.0]]))):
        assert client.post(path, content=content, headers=octets).json() == reference
    for content, form, says in (
        (b"PK\x03\x04", octets["Content-Type"], "looks like npz; send rows as csv, npy, parquet, arrow, arrows"),
        (b"a,b,c\n1,2,3\n", "application/vnd.apache.parquet", "is said to be parquet, but it looks like csv"),
        (b"PAR1 and no more", "application/vnd.apache.parquet", "the Parquet file cannot be read"),
    ):
        answer = client.post(path, content=content, headers={"Content-Type": form})
        assert answer.status_code == 422
        assert says in answer.json()["detail"]


def test_integers_and_bfloat16_in_safetensors(client: httpx.Client, add: Callable[..., str]):
    path = f"/models/{add()}/predict"
    rows = np.array([[1, 2, 3], [0, -1, 4]])
    reference = client.post(path, json={"x": rows.tolist()}).json()["probabilities"]
    for array in (rows, rows.astype(ml_dtypes.bfloat16), rows.astype(np.float16)):
        answer = client.post(path, content=save({"x": array}), headers=SAFETENSORS)
        assert answer.status_code == 200, answer.text
        np.testing.assert_array_equal(load(answer.content)["probabilities"], reference)


def test_bfloat16_in_json(client: httpx.Client, add: Callable[..., str]):
    path = f"/models/{add()}/predict"
    rows = np.array([[1, 2, 3], [0, -1, 4]])
    encoded = {
        "dtype": "bfloat16",
        "shape": [2, 3],
        "data": base64.b64encode(rows.astype(ml_dtypes.bfloat16).tobytes()).decode(),
    }
    answer = client.post(path, json={"x": encoded})
    assert answer.status_code == 200, answer.text
    assert answer.json() == client.post(path, json={"x": rows.tolist()}).json()


FAULTS: list[tuple[dict[str, Any], str, str]] = [
    ({"json": {}}, "/records", "give the rows to predict"),
    ({"json": {"x": [[1, 2, 3]], "records": [{"a": 1, "b": 2, "c": 3}]}}, "/records", "give the rows once"),
    ({"json": {"records": {"a": 1}}}, "/records", "a list of objects"),
    ({"json": {"records": []}}, "/records", "no rows"),
    ({"json": {"records": [{"a": 1, "b": 2, "c": 3}, 4]}}, "/records/1", "a record is an object"),
    ({"json": {"records": [{"a": 1, "b": 2, "C": 3}]}}, "/records/0", "column `c` is missing; give null"),
    ({"json": {"records": [{"a": 1, "b": "2", "c": 3}]}}, "/records/0/b", "is not a number"),
    ({"json": {"records": [{"a": 1, "b": 10**400, "c": 3}]}}, "/records/0/b", "is not finite"),
    ({"json": {"records": [{"a": 1, "b": True, "c": 3}]}}, "/records/0/b", "is not a number"),
    ({"json": {"x": [[1, 2]]}}, "/x", "the model takes (rows, 3)"),
    ({"json": {"x": [1, 2, 3]}}, "/x", "the model takes (rows, 3)"),
    ({"json": {"x": []}}, "/x", ""),
    ({"json": {"x": [[1, 2, 3], [1, 2]]}}, "/x/1", ""),
    ({"json": {"x": [[1, 2, "3"]]}}, "/x/0/2", "should be a number"),
    ({"json": {"x": [[1, 2, "NaN"]]}}, "/x/0/2", "not finite"),
    ({"json": {"x": [[1, 2, 3]], "mc_samples": 0}}, "/mc_samples", "greater than or equal to 1"),
    ({"json": {"x": [[1, 2, 3]], "mc_samples": 10**9}}, "/mc_samples", "10000"),
    ({"json": {"x": [[1, 2, 3]], "seed": -1}}, "/seed", ""),
    ({"json": {"x": [[1, 2, 3]], "seed": "1"}}, "/seed", "valid integer"),
    ({"json": {"x": [[1, 2, 3]], "mc_samples": True}}, "/mc_samples", "valid integer"),
    ({"json": {"x": [[1, 2, 3]], "sed": 1}}, "/sed", ""),
    ({"json": {"x": [[1, 2, 3]], "seed": 1}, "params": {"seed": 1}}, "/seed", "give it once"),
    ({"content": npy(np.zeros((1, 3))), "headers": NPY, "params": {"seed": "x"}}, "/seed", ""),
    ({"content": npy(np.zeros((1, 3)))[:-1], "headers": NPY}, "/x", ""),
    ({"content": save({"y": np.zeros((1, 3))}), "headers": SAFETENSORS}, "/x", "found `y`"),
    ({"content": save({"x": np.zeros((1, 3))}, {"rate": "1"}), "headers": SAFETENSORS}, "/rate", ""),
]


def test_faults_are_pointed_at(client: httpx.Client, add: Callable[..., str], subtests: pytest.Subtests):
    path = f"/models/{add()}/predict"
    for body, pointer, message in FAULTS:
        with subtests.test(body=str(body)):
            answer = client.post(path, **body)
            assert answer.status_code == 422
            assert answer.headers["content-type"] == "application/problem+json"
            assert pointer in {error["pointer"] for error in answer.json()["errors"]}
            assert message in answer.text


def test_forms_that_are_not_spoken(client: httpx.Client, add: Callable[..., str]):
    path = f"/models/{add()}/predict"
    assert client.post(path, content=b"1,2,3", headers={"Content-Type": "text/plain"}).status_code == 415
    assert client.post(path, json={"x": [[1, 2, 3]]}, headers={"Accept": "text/csv"}).status_code == 406


def test_a_damaged_artefact_is_not_used(client: httpx.Client, add: Callable[..., str], settings: Settings):
    model_id = add()
    file = settings.data_dir / "blobs/models" / model_id
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    answer = client.post(f"/models/{model_id}/predict", json={"x": [[1, 2, 3]]})
    assert answer.status_code == 500
    assert "damaged" in answer.json()["detail"]


def test_an_answer_of_too_many_values_of_json_is_refused_before_it_is_computed(
    tmp_path: Path, open_client: Callable[[FastAPI], httpx.Client]
):
    settings = Settings(data_dir=tmp_path, dispatcher=False, max_json_values=1024)
    client = open_client(create_app(settings))
    engine = open_database(settings.database_url)
    models = ModelRegistry(engine, BlobStore(settings.blob_url))
    draft = models.put(trained(), job_id="job_1")
    models.record(draft)
    engine.dispose()
    path, rows = f"/models/{draft.id}/predict", npy(np.zeros((300, 3)))
    problem = client.post(path, content=rows, headers={**NPY, "Accept": "application/json"}).json()
    assert (problem["excess"]["setting"], problem["excess"]["value"]) == ("DROPOUT_SERVICE_MAX_JSON_VALUES", 1501)
    assert "accept application/vnd.safetensors" in problem["detail"]
    assert client.post(path, content=rows, headers=NPY).status_code == 200
    fewer = npy(np.zeros((100, 3)))
    assert client.post(path, content=fewer, headers={**NPY, "Accept": "application/json"}).status_code == 200


def test_a_prediction_beyond_the_limits_is_told_which_setting_allows_more(
    client: httpx.Client, add: Callable[..., str]
):
    model_id = add()
    content = npy(np.zeros((200_000, 3), np.float32))
    answer = client.post(f"/models/{model_id}/predict?mc_samples=10000", content=content, headers=NPY)
    problem = answer.json()
    assert (answer.status_code, problem["type"].rpartition(":")[2]) == (422, "over-budget")
    assert problem["excess"]["setting"] == "DROPOUT_SERVICE_MAX_PREDICTION_OPERATIONS"
    assert [error["pointer"] for error in problem["errors"]] == ["/mc_samples"]
