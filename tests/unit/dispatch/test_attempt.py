from __future__ import annotations

import signal
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy.exc import OperationalError

from dropout_service.blobs import BlobStore
from dropout_service.datasets.inline import from_arrays
from dropout_service.datasets.registry import DatasetRegistry
from dropout_service.dispatch import attempt as attempts
from dropout_service.dispatch.attempt import Parts, run_attempt
from dropout_service.dispatch.config import DispatchConfig
from dropout_service.dispatch.process import StopRequest
from dropout_service.jobs.attempts import Attempt
from dropout_service.jobs.sql import SqlJobStore
from dropout_service.models.registry import ModelRegistry
from dropout_service.training.spec import TrainingSpec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine


class AwayWhenFinished(SqlJobStore):
    """A store that takes everything but results, at first."""

    away = 3
    answered = True

    def finish(self, *arguments: Any, **named: Any) -> bool:
        if self.away == 0:
            return super().finish(*arguments, **named)
        self.away -= 1
        if self.away == 0 and not self.answered:
            super().finish(*arguments, **named)
        raise OperationalError("UPDATE", {}, sqlite3.OperationalError("database or disk is full"))


@pytest.fixture
def stop() -> Iterator[StopRequest]:
    before = signal.getsignal(signal.SIGTERM)
    yield StopRequest(signal.SIGTERM)
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("answered", [True, False])
def test_a_result_that_waits_for_long_gets_a_new_artefact_and_is_the_only_one(
    sqlite_engine: Engine,
    tmp_path: Path,
    stop: StopRequest,
    monkeypatch: pytest.MonkeyPatch,
    answered: bool,  # noqa: FBT001
):
    monkeypatch.setattr(attempts, "_ARTEFACT_S", 0.0)
    monkeypatch.setattr(AwayWhenFinished, "answered", answered)
    blobs = BlobStore(tmp_path.as_uri())
    jobs, models = AwayWhenFinished(sqlite_engine), ModelRegistry(sqlite_engine, blobs)
    parts = Parts(jobs, blobs, DatasetRegistry(sqlite_engine, blobs), models)
    dataset = parts.datasets.add_content(from_arrays([[0.0], [1.0], [2.0], [3.0]], [0.0, 1.0, 2.0, 3.0]))
    spec = {"task": "regression", "data": {"dataset": dataset.id}, "epochs": 2, "validation_fraction": 0}
    job = jobs.submit(TrainingSpec.model_validate(spec))
    jobs.claim(1, dispatcher="d", lease_s=60)
    config = DispatchConfig(database_url="", blob_url="", heartbeat_s=0.05, lease_s=60)
    run_attempt(Attempt(job.id, 1), parts, config, stop)
    ended = jobs.get(job.id)
    (model,) = models.list(limit=10)
    assert (ended.status, ended.model) == ("succeeded", model.id)
    assert models.load(model).weights_digest == model.weights_digest
