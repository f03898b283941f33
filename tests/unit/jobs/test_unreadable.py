"""Rows that this version cannot read: shown with the reason, in nobody's way, and there for a version that can."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import update

from dropout_service.database.engine import writing
from dropout_service.errors import InvalidInputError
from dropout_service.jobs.job import JobStatus, RunOptions
from dropout_service.jobs.sql import SqlJobStore, queue
from dropout_service.jobs.tables import events, jobs
from dropout_service.training.stored import SPEC_VERSION

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from dropout_service.training.spec import TrainingSpec


@pytest.fixture
def store(engine: Engine) -> SqlJobStore:
    return SqlJobStore(engine)


def change(engine: Engine, job_id: str, **values: Any) -> None:
    with writing(engine) as connection:
        connection.execute(update(jobs).where(jobs.c.id == job_id).values(values))


def document(spec: TrainingSpec, **fields: Any) -> dict[str, Any]:
    return {**spec.model_dump(mode="json"), **fields}


def test_a_field_more_changes_nothing(engine: Engine, store: SqlJobStore, spec: TrainingSpec):
    job = store.submit(spec)
    change(engine, job.id, spec=document(spec, colour="red"))
    (claimed,) = store.claim(1, dispatcher="d", lease_s=60)
    assert claimed.training == spec


def test_one_that_cannot_be_read_is_set_aside_and_the_next_begins(
    engine: Engine,
    store: SqlJobStore,
    spec: TrainingSpec,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    unreadable, other = store.submit(spec, RunOptions(priority=9)), store.submit(spec)
    change(engine, unreadable.id, spec=document(spec, task="poetry"))
    assert store.claim(1, dispatcher="d", lease_s=60) == [], "its place is used up once"
    assert f"job {unreadable.id} waits for another version of the service" in caplog.text
    assert [job.id for job in store.claim(1, dispatcher="d", lease_s=60)] == [other.id]
    shown = store.get(unreadable.id)
    assert (shown.status, shown.name) == (JobStatus.QUEUED, spec.name)
    assert "its stored specification cannot be read" in (shown.unreadable or "")
    with pytest.raises(InvalidInputError, match="the job cannot be run: its stored specification cannot be read"):
        _ = shown.training
    assert {job.id for job in store.list(limit=10)} == {unreadable.id, other.id}
    # A later version can read more, and takes it.
    change(engine, unreadable.id, spec=document(spec))
    monkeypatch.setattr(queue, "SPEC_VERSION", SPEC_VERSION + 1)
    assert [job.id for job in store.claim(1, dispatcher="d", lease_s=60)] == [unreadable.id]


def test_one_of_a_later_version_is_left_in_the_queue_and_may_be_cancelled(
    engine: Engine, store: SqlJobStore, spec: TrainingSpec
):
    job = store.submit(spec)
    change(engine, job.id, spec={"version": SPEC_VERSION + 1, **document(spec)}, spec_version=SPEC_VERSION + 1)
    assert store.claim(1, dispatcher="d", lease_s=60) == []
    assert "made by a later version" in (store.get(job.id).unreadable or "")
    assert store.request_pause(job.id).status is JobStatus.PAUSED
    assert store.request_resume(job.id).status is JobStatus.QUEUED
    assert store.request_cancel(job.id).status is JobStatus.CANCELLED
    store.delete(job.id)
    assert store.list(limit=10) == []


def test_words_of_a_later_version_are_shown_as_well_as_can_be(engine: Engine, store: SqlJobStore, spec: TrainingSpec):
    job = store.submit(spec)
    change(
        engine,
        job.id,
        stop_reason="bored",
        failure={"code": "bored", "phase": "x", "epoch": 1, "message": "m", "mood": 1},
    )
    with writing(engine) as connection:
        connection.execute(update(events).where(events.c.job_id == job.id).values(type="pondered"))
    shown = store.get(job.id)
    assert (shown.stop_reason, shown.failure and shown.failure.code) == ("error", "bored")
    assert [event.type for event in store.events(job.id)] == ["pondered"]
    assert store.attempts(job.id) == ()


def test_a_status_that_is_not_known_counts_as_failed(engine: Engine, store: SqlJobStore, spec: TrainingSpec):
    job = store.submit(spec)
    change(engine, job.id, status="dreaming")
    shown = store.get(job.id)
    assert (shown.status, shown.failure and shown.failure.code) == (JobStatus.FAILED, "unreadable")
    assert store.sequences([job.id]) == {job.id: (1, JobStatus.FAILED)}
    store.delete(job.id)


def test_damaged_json_in_an_sqlite_file_hides_no_other_row(sqlite_engine: Engine, spec: TrainingSpec):
    store = SqlJobStore(sqlite_engine)
    damaged, other = store.submit(spec), store.submit(spec)
    with writing(sqlite_engine) as connection:
        connection.exec_driver_sql(
            "UPDATE jobs SET spec = '{\"task\": ', checkpoints = '[', failure = '{' WHERE id = ?", (damaged.id,)
        )
    assert [job.unreadable is None for job in store.list(limit=10)] == [True, False]
    assert store.get(other.id).training == spec
