"""A layer that is added to the registry, by one line, goes all the way: schema, training, resume, model, prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from evaluate_ops import evaluate
from toy_layer import CENTRE

from dropout_service.app import create_app
from dropout_service.blobs import BlobStore
from dropout_service.database.engine import open_database
from dropout_service.datasets.loading import load_training_data
from dropout_service.datasets.registry import DatasetRegistry
from dropout_service.dispatch.attempt import Parts, run_attempt
from dropout_service.dispatch.config import DispatchConfig
from dropout_service.jobs.attempts import Attempt
from dropout_service.jobs.sql import SqlJobStore
from dropout_service.models.registry import ModelRegistry
from dropout_service.nn.layers import LAYERS
from dropout_service.nn.lowering import lower
from dropout_service.settings import Settings
from dropout_service.training.spec import TrainingSpec
from dropout_service.training.trainer import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import httpx
    from fastapi import FastAPI

RNG = np.random.default_rng(3)
X = RNG.normal(size=(60, 3)).round(3)
Y = np.where(X[:, 0] * X[:, 1] > 0, "same", "other")
LAYER_LIST = [
    {"kind": "dense", "units": 8, "activation": "tanh", "dropout": 0.2},
    {"kind": "centre", "momentum": 0.7},
    {"kind": "dense", "units": 8, "residual": True, "dropout": {"variant": "gaussian", "rate": 0.2}},
    {"kind": "centre"},
]
CONFIG = DispatchConfig(database_url="", blob_url="", heartbeat_s=0.05, lease_s=60)


class StopAfter:
    """A request to stop that is made after some steps."""

    def __init__(self, steps: int) -> None:
        self._steps = steps

    def is_made(self) -> bool:
        self._steps -= 1
        return self._steps < 0


def body(**model: Any) -> dict[str, Any]:
    return {
        "task": "classification",
        "data": {"x": X.tolist(), "y": Y.tolist()},
        "model": {"layers": LAYER_LIST, "input_dropout": 0.1} | model,
        "epochs": 6,
        "batch_size": 16,
        "early_stopping": {"patience": 4},
    }


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setitem(LAYERS, CENTRE.name, CENTRE)
    return Settings(data_dir=tmp_path, dispatcher=False)


@pytest.fixture
def client(settings: Settings, open_client: Callable[[FastAPI], httpx.Client]) -> httpx.Client:
    return open_client(create_app(settings))


@pytest.fixture
def parts(settings: Settings, client: httpx.Client) -> Iterator[Parts]:
    """What an attempt works with, beside the application."""
    assert client is not None
    engine = open_database(settings.database_url)
    blobs = BlobStore(settings.blob_url)
    yield Parts(SqlJobStore(engine), blobs, DatasetRegistry(engine, blobs), ModelRegistry(engine, blobs))
    engine.dispose()


def run(parts: Parts, *, steps: int) -> Attempt:
    (job,) = parts.jobs.claim(1, dispatcher="test", lease_s=60)
    attempt = Attempt(job.id, job.attempt)
    run_attempt(attempt, parts, CONFIG, StopAfter(steps))
    return attempt


def test_from_a_request_over_interruptions_to_a_prediction(client: httpx.Client, parts: Parts):
    answer = client.post("/jobs", json=body())
    assert answer.status_code == 202, answer.text
    assert answer.json()["spec"]["model"]["layers"][1] == {"kind": "centre", "dropout": 0.0, "momentum": 0.7}
    for _ in range(3):
        run(parts, steps=4)
    attempt = run(parts, steps=1000)
    job = client.get(f"/jobs/{attempt.job_id}").json()
    assert (job["status"], job["attempt"]) == ("succeeded", 4)
    assert job["attempts"][-1]["step"] > 0, "it went on from a checkpoint"

    spec = TrainingSpec.model_validate(job["spec"])
    straight = Trainer(spec, load_training_data(parts.datasets.get(spec.data.dataset or ""), parts.blobs, spec))
    list(straight.run())
    trained = straight.finish()
    model = client.get(f"/models/{job['model']}").json()
    assert model["weights_digest"] == trained.weights_digest
    assert set(trained.buffers) == {"layers.2.running_mean", "layers.4.running_mean"}
    assert all(np.abs(buffer).max() > 0 for buffer in trained.buffers.values())

    answer = client.post(f"/models/{job['model']}/predict", json={"x": X[:5].tolist()})
    assert answer.status_code == 200, answer.text
    stored = parts.models.load(parts.models.get(job["model"]))
    lowered = evaluate(
        lower(stored.bare_layers(), stored.head),
        {"x": stored.encoders.encode(X[:5], overflow=AssertionError), **stored.tensors},
    )
    np.testing.assert_allclose(answer.json()["probabilities"], lowered["probabilities"], rtol=1e-4)
    sampled = client.post(f"/models/{job['model']}/predict", json={"x": X[:5].tolist(), "mc_samples": 9})
    assert (np.array(sampled.json()["probabilities_std"]) > 0).all()


@pytest.mark.parametrize(
    ("layers", "pointer", "message"),
    [
        ([{"kind": "centre"}], "/model/layers/0", "centred as it is"),
        ([{"kind": "dense", "units": 4}, {"kind": "centre", "momentum": 2}], "/model/layers/1/momentum", "from 0 to 1"),
        ([{"kind": "dense", "units": 4}, {"kind": "centre", "gain": 2}], "/model/layers/1/gain", "takes momentum"),
        (
            [{"kind": "dense", "units": 4}, {"kind": "centre", "dropout": 0.1}],
            "/model/layers/1/dropout",
            "add a layer `dropout`",
        ),
    ],
)
def test_what_does_not_fit_the_layer_is_refused_and_nothing_stored(
    client: httpx.Client, layers: list[dict[str, Any]], pointer: str, message: str
):
    answer = client.post("/jobs", json=body(layers=layers, input_dropout=0.0))
    assert answer.status_code == 422
    (fault,) = answer.json()["errors"]
    assert fault["pointer"] == pointer
    assert message in fault["message"]
    assert client.get("/datasets").json()["items"] == []


def test_the_published_schema_has_the_layer(client: httpx.Client):
    schema = client.get("/openapi.json").json()["components"]["schemas"]["LayerSpec"]
    (own,) = [one for one in schema["oneOf"] if one["properties"]["kind"]["const"] == "centre"]
    assert own["properties"]["momentum"]["maximum"] == 1
    assert "dropout" not in own["properties"]
