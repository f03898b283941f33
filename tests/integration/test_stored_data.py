"""Data folders as earlier versions left them, served by this one: nothing is lost, and everything can be read."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from live_server import serve

if TYPE_CHECKING:
    from collections.abc import Iterator

KEPT = Path(__file__).parents[1] / "data"
VERSIONS = sorted(folder.name for folder in KEPT.glob("service-*"))
PATIENCE_S = 60.0
ENDED = ["succeeded", "failed", "cancelled"]
SETTINGS = {
    "DROPOUT_SERVICE_WORKERS": "2",
    "DROPOUT_SERVICE_HEARTBEAT_S": "0.2",
    "DROPOUT_SERVICE_LEASE_S": "1",  # who held the running job is gone for good
}


@pytest.fixture(scope="module", params=VERSIONS)
def kept(request: pytest.FixtureRequest) -> dict[str, Any]:
    return json.loads((KEPT / request.param / "kept.json").read_text()) | {"folder": KEPT / request.param}


@pytest.fixture(scope="module")
def client(kept: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("stored") / "data"
    shutil.copytree(kept["folder"], folder)
    with serve(folder, SETTINGS) as server, httpx.Client(base_url=server.url, timeout=60) as client:
        yield client


def ended(client: httpx.Client, job_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE_S
    while (job := client.get(f"/jobs/{job_id}?wait=20").json())["status"] not in ENDED:
        assert time.monotonic() < deadline, job
    return job


def predicted(client: httpx.Client, kept: dict[str, Any], model: str) -> dict[str, Any]:
    body = {"x": kept["rows"], "mc_samples": kept["mc_samples"], "seed": 1}
    answer = client.post(f"/models/{model}/predict", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_there_is_a_folder_of_an_earlier_version():
    assert VERSIONS


def test_what_had_ended_is_as_it_was(client: httpx.Client, kept: dict[str, Any]):
    found = {job["id"]: job for job in client.get("/jobs").json()["items"]}
    assert set(found) == {kept[name] for name in (*ENDED, "paused", "running", "queued")}
    assert [found[kept[name]]["status"] for name in ENDED] == ENDED
    assert found[kept["failed"]]["failure"]["message"] == "the loss is NaN"
    assert [job["unreadable"] for job in found.values()] == [None] * 6
    events = client.get(f"/jobs/{kept['succeeded']}/events", headers={"Accept": "application/json"}).json()["items"]
    assert [event["type"] for event in events] == ["queued", "started", *["epoch"] * 6, "succeeded"]


def test_its_dataset_has_its_schema(client: httpx.Client, kept: dict[str, Any]):
    dataset = client.get(f"/datasets/{kept['dataset']}").json()
    assert [column["name"] for column in dataset["schema"]["columns"]] == ["width", "height", "sign"]
    assert dataset["unreadable"] is None
    assert client.get(f"/datasets/{kept['dataset']}/content").status_code == 200


def test_its_model_predicts_the_same_numbers(client: httpx.Client, kept: dict[str, Any]):
    answer = predicted(client, kept, kept["model"])
    # Exponentials and products may be rounded otherwise on another CPU.
    assert answer["probabilities"] == [pytest.approx(row, abs=1e-6) for row in kept["probabilities"]]
    assert answer["probabilities_std"] == [pytest.approx(row, abs=1e-6) for row in kept["probabilities_std"]]


@pytest.mark.parametrize("name", ["queued", "running", "paused"])
def test_what_had_not_ended_ends_in_the_weights_of_an_undisturbed_run(
    client: httpx.Client, kept: dict[str, Any], name: str
):
    job_id = kept[name]
    if name == "paused":
        assert client.get(f"/jobs/{job_id}").json()["status"] == "paused"
        assert client.post(f"/jobs/{job_id}/resume").status_code in {200, 202}
    job = ended(client, job_id)
    assert job["status"] == "succeeded", job
    if name == "paused":
        attempt = job["attempts"][-1]
        assert (attempt["epoch"], job["attempt"]) == (2, 2), "it went on from its checkpoint"
    answer = predicted(client, kept, job["model"])
    assert answer["probabilities"] == [pytest.approx(row, abs=1e-4) for row in kept["probabilities"]]
