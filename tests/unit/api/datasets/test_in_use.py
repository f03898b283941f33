"""A dataset is deleted while a job that needs it is being accepted: one of the two is refused, in either order."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import waiting
from sqlalchemy import text

from dropout_service.api.http.idempotency import IdempotentCall
from dropout_service.api.jobs import routes as jobs
from dropout_service.database.engine import reading
from dropout_service.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx
    from sqlalchemy import Engine

BOUND_S = 20.0
ROWS: dict[str, Any] = {"x": [[0.0], [1.0], [2.0], [3.0]], "y": [0, 1, 2, 3]}


class Pause:
    """A place at which a request waits until the test lets it go on."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.over = threading.Event()

    def __call__(self) -> None:
        self.reached.set()
        assert self.over.wait(BOUND_S)


@pytest.fixture
def pause() -> Iterator[Pause]:
    pause = Pause()
    yield pause
    pause.over.set()


@pytest.fixture
def settings(migrated_url: str, tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", database_url=migrated_url, dispatcher=False)


@pytest.fixture
def dataset(client: httpx.Client) -> str:
    answer = client.post("/datasets", content=b"x,y\n0,0\n1,1\n2,2\n3,3\n", headers={"Content-Type": "text/csv"})
    return answer.json()["id"]


def submit(client: httpx.Client, data: dict[str, Any]) -> httpx.Response:
    return client.post("/jobs", json={"task": "regression", "data": data, "validation_fraction": 0})


def pause_after_the_check(monkeypatch: pytest.MonkeyPatch, pause: Pause) -> None:
    stored = jobs._stored_data
    monkeypatch.setattr(jobs, "_stored_data", lambda data, dataset: (stored(data, dataset), pause())[0])


def test_a_job_whose_dataset_was_deleted_since_it_was_read_is_refused(
    client: httpx.Client, dataset: str, pause: Pause, monkeypatch: pytest.MonkeyPatch
):
    pause_after_the_check(monkeypatch, pause)
    with ThreadPoolExecutor(1) as pool:
        submitting = pool.submit(submit, client, {"dataset": dataset})
        assert pause.reached.wait(BOUND_S)
        assert client.delete(f"/datasets/{dataset}").status_code == 204
        pause.over.set()
        answer = submitting.result(BOUND_S)
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert (error["pointer"], f"no dataset `{dataset}`" in error["message"]) == ("/data/dataset", True)
    assert client.get("/jobs").json()["items"] == []


def test_arrays_that_were_deleted_before_their_job_was_accepted_can_be_sent_again(
    client: httpx.Client, pause: Pause, monkeypatch: pytest.MonkeyPatch
):
    pause_after_the_check(monkeypatch, pause)
    with ThreadPoolExecutor(1) as pool:
        submitting = pool.submit(submit, client, ROWS)
        assert pause.reached.wait(BOUND_S)
        (stored,) = client.get("/datasets").json()["items"]
        assert client.delete(f"/datasets/{stored['id']}").status_code == 204
        pause.over.set()
        answer = submitting.result(BOUND_S)
    assert (answer.status_code, answer.json()["detail"].endswith("send them again")) == (409, True)
    assert submit(client, ROWS).status_code == 202


def test_a_dataset_stays_when_a_job_that_needs_it_is_being_recorded(
    client: httpx.Client, dataset: str, engine: Engine, pause: Pause, monkeypatch: pytest.MonkeyPatch
):
    complete = IdempotentCall.complete
    monkeypatch.setattr(IdempotentCall, "complete", lambda *arguments: (complete(*arguments), pause()))
    with ThreadPoolExecutor(2) as pool:
        submitting = pool.submit(submit, client, {"dataset": dataset})
        assert pause.reached.wait(BOUND_S)
        deleting = pool.submit(client.delete, f"/datasets/{dataset}")
        if engine.dialect.name == "postgresql":  # SQLite does not tell who waits
            waiting.wait_for(lambda: waits_for_a_lock(engine), "the deletion to wait", patience_s=BOUND_S)
        pause.over.set()
        assert submitting.result(BOUND_S).status_code == 202
        answer = deleting.result(BOUND_S)
    assert (answer.status_code, "a job that has not ended uses dataset" in answer.json()["detail"]) == (409, True)
    assert client.get(f"/datasets/{dataset}/content").status_code == 200


def waits_for_a_lock(engine: Engine) -> bool:
    states = text("SELECT wait_event_type FROM pg_stat_activity WHERE datname = current_database()")
    with reading(engine) as connection:
        return "Lock" in connection.execute(states).scalars().all()
