from __future__ import annotations

import signal
import sqlite3
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import waiting
from sqlalchemy.exc import OperationalError

from dropout_service.blobs import BlobStore
from dropout_service.datasets.inline import from_arrays
from dropout_service.datasets.loading import load_training_data
from dropout_service.datasets.registry import DatasetRegistry
from dropout_service.dispatch import attempt as attempts
from dropout_service.dispatch.attempt import Parts, run_attempt
from dropout_service.dispatch.config import DispatchConfig
from dropout_service.dispatch.process import StopRequest
from dropout_service.jobs.attempts import Attempt, Command, Report
from dropout_service.jobs.sql import SqlJobStore
from dropout_service.models.registry import ModelRegistry
from dropout_service.training import identity
from dropout_service.training.spec import TrainingSpec
from dropout_service.training.trainer import Trainer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine

EPOCHS = 4
CONFIG = DispatchConfig(database_url="", blob_url="", heartbeat_s=0.05, lease_s=60)


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


class NeverHears(SqlJobStore):
    """A store that takes results, but no sign of life."""

    def heartbeat(self, *_arguments: Any, **_named: Any) -> Command:
        raise OperationalError("UPDATE", {}, sqlite3.OperationalError("database is locked"))


def parts_over(jobs: SqlJobStore, engine: Engine, folder: Path) -> Parts:
    blobs = BlobStore(folder.as_uri())
    return Parts(jobs, blobs, DatasetRegistry(engine, blobs), ModelRegistry(engine, blobs))


def refuse(_thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")  # what a thread says that the system does not give


def claimed(parts: Parts) -> Attempt:
    """Submit a job and claim it."""
    dataset = parts.datasets.add_content(from_arrays([[0.0], [1.0], [2.0], [3.0]], [0.0, 1.0, 2.0, 3.0]))
    spec = {"task": "regression", "data": {"dataset": dataset.id}, "epochs": EPOCHS, "validation_fraction": 0}
    job = parts.jobs.submit(TrainingSpec.model_validate(spec))
    parts.jobs.claim(1, dispatcher="d", lease_s=60)
    return Attempt(job.id, 1)


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
    answered: bool,  # noqa: FBT001 - a value of the parameters above
):
    monkeypatch.setattr(attempts, "_ARTEFACT_S", 0.0)
    monkeypatch.setattr(AwayWhenFinished, "answered", answered)
    parts = parts_over(AwayWhenFinished(sqlite_engine), sqlite_engine, tmp_path)
    attempt = claimed(parts)
    run_attempt(attempt, parts, CONFIG, stop)
    ended = parts.jobs.get(attempt.job_id)
    (model,) = parts.models.list(limit=10)
    assert (ended.status, ended.model) == ("succeeded", model.id)
    assert parts.models.load(model).weights_digest == model.weights_digest


def test_as_long_as_the_database_is_away_there_is_one_checkpoint_that_waits(
    sqlite_engine: Engine, tmp_path: Path, stop: StopRequest
):
    parts = parts_over(NeverHears(sqlite_engine), sqlite_engine, tmp_path)
    attempt = claimed(parts)
    run_attempt(attempt, parts, replace(CONFIG, checkpoint_s=0.0), stop)
    assert parts.jobs.get(attempt.job_id).status == "succeeded"
    assert parts.blobs.list("jobs") == [f"jobs/{attempt.job_id}/1/checkpoint-1"]


@pytest.fixture
def resumable(sqlite_engine: Engine, tmp_path: Path) -> tuple[Parts, Attempt, list[str]]:
    """A second attempt with two checkpoints to go on from, the latest first."""
    parts = parts_over(SqlJobStore(sqlite_engine), sqlite_engine, tmp_path)
    first = claimed(parts)
    spec = parts.jobs.get(first.job_id).spec
    trainer = Trainer(spec, load_training_data(parts.datasets.get(spec.data.dataset or ""), parts.blobs, spec))
    keys = [f"jobs/{first.job_id}/1/checkpoint-{number}" for number in (1, 2)]
    for key in keys:
        next(trainer.run())
        parts.blobs.put(key, trainer.checkpoint())
        parts.jobs.heartbeat(first, Report(trainer.progress, checkpoint=key), lease_s=60)
    parts.jobs.release(first, Report(trainer.progress), reason="shutdown")
    (job,) = parts.jobs.claim(1, dispatcher="d", lease_s=60)
    return parts, Attempt(job.id, 2), keys[::-1]


def make_unreadable(tmp_path: Path, key: str) -> None:
    path = tmp_path / key
    path.unlink()
    path.symlink_to(path)


def told(parts: Parts, attempt: Attempt) -> list[str]:
    return [event.type for event in parts.jobs.events(attempt.job_id)][3:]


@pytest.mark.parametrize("damage", ["gone", "out of reach"])
def test_a_checkpoint_that_cannot_be_read_is_told_before_the_one_it_goes_on_from(
    resumable: tuple[Parts, Attempt, list[str]],
    tmp_path: Path,
    stop: StopRequest,
    monkeypatch: pytest.MonkeyPatch,
    damage: str,
):
    monkeypatch.setattr(attempts, "_BLOBS_AWAY_S", 0.0)
    parts, attempt, (latest, before) = resumable
    if damage == "gone":
        parts.blobs.delete(latest)
    else:
        make_unreadable(tmp_path, latest)
    run_attempt(attempt, parts, CONFIG, stop)
    assert told(parts, attempt) == ["started", "fell_back", "restored", *["epoch"] * (EPOCHS - 1), "succeeded"]
    assert parts.jobs.attempts(attempt.job_id)[-1].epoch == 1
    assert parts.blobs.exists(before)


def test_checkpoints_of_which_none_is_in_reach_are_not_given_up(
    resumable: tuple[Parts, Attempt, list[str]], tmp_path: Path, stop: StopRequest, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(attempts, "_BLOBS_AWAY_S", 0.0)
    parts, attempt, keys = resumable
    for key in keys:
        make_unreadable(tmp_path, key)
    run_attempt(attempt, parts, CONFIG, stop)
    job = parts.jobs.get(attempt.job_id)
    assert (job.status, job.crashes, job.checkpoints) == ("queued", 0, tuple(keys))
    assert parts.jobs.attempts(attempt.job_id)[-1].reason == "unavailable"


def test_who_waits_for_the_blob_store_says_so_once(
    resumable: tuple[Parts, Attempt, list[str]],
    tmp_path: Path,
    stop: StopRequest,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    monkeypatch.setattr(attempts, "_BLOBS_AWAY_S", 0.1)
    monkeypatch.setattr(attempts, "_TRY_AGAIN_S", 0.001)
    parts, attempt, keys = resumable
    for key in keys:
        make_unreadable(tmp_path, key)
    run_attempt(attempt, parts, CONFIG, stop)
    waits = [record.message for record in caplog.records if "waits" in record.message]
    assert len(waits) == 1
    assert waits[0].startswith(f"job {attempt.job_id} waits: cannot read blob `{keys[0]}`")


@pytest.mark.parametrize("comes_back", [True, False])
def test_a_training_waits_for_room_for_its_arrays(
    resumable: tuple[Parts, Attempt, list[str]],
    stop: StopRequest,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    comes_back: bool,  # noqa: FBT001 - a value of the parameters above
):
    monkeypatch.setattr(attempts, "_BLOBS_AWAY_S", 30.0 if comes_back else 0.1)
    parts, attempt, keys = resumable
    folder = parts.blobs.scratch_dir
    folder.rmdir()

    def has_told() -> bool:
        return any("waits: cannot write 32 bytes of training data to scratch" in line for line in caplog.messages)

    def bring_back() -> None:
        waiting.wait_for(has_told, "the attempt that waits", patience_s=30)
        folder.mkdir()

    helper = threading.Thread(target=bring_back if comes_back else has_told)
    helper.start()
    run_attempt(attempt, parts, replace(CONFIG, array_bytes=0), stop)
    helper.join()
    job = parts.jobs.get(attempt.job_id)
    assert has_told()
    if comes_back:
        assert (job.status, told(parts, attempt)[-1]) == ("succeeded", "succeeded")
    else:
        assert (job.status, job.crashes, job.checkpoints) == ("queued", 0, tuple(keys))
        assert parts.jobs.attempts(attempt.job_id)[-1].reason == "unavailable"


def test_a_process_without_room_for_a_thread_hands_the_job_back(
    sqlite_engine: Engine, tmp_path: Path, stop: StopRequest, monkeypatch: pytest.MonkeyPatch
):
    parts = parts_over(SqlJobStore(sqlite_engine), sqlite_engine, tmp_path)
    attempt = claimed(parts)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        run_attempt(attempt, parts, CONFIG, stop)
    job = parts.jobs.get(attempt.job_id)
    assert (job.status, job.crashes) == ("queued", 0)
    assert parts.jobs.attempts(attempt.job_id)[-1].reason == "unavailable"
    assert parts.jobs.claim(1, dispatcher="d", lease_s=60) == [], "not at once: there is no room now"


def test_a_job_whose_checkpoints_are_of_another_generator_begins_again_and_says_why(
    resumable: tuple[Parts, Attempt, list[str]], stop: StopRequest, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(identity, "GENERATOR", "another")
    parts, attempt, _ = resumable
    run_attempt(attempt, parts, CONFIG, stop)
    assert told(parts, attempt) == ["started", "fell_back", *["epoch"] * EPOCHS, "succeeded"]
    (event,) = [event for event in parts.jobs.events(attempt.job_id) if event.type == "fell_back"]
    assert "the checkpoint belongs to another generator (" in event.data["message"]
    assert event.data["message"].endswith("resumed from the start")
