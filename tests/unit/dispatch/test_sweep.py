"""What a killed process leaves is removed, and nothing that somebody is about to record."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert
from waiting import wait_for

from dropout_service.blobs import BlobStore
from dropout_service.database.clock import now_s
from dropout_service.database.engine import open_database, writing
from dropout_service.database.migrate import upgrade
from dropout_service.database.references import Owners
from dropout_service.datasets.inline import from_arrays
from dropout_service.datasets.registry import DatasetRegistry
from dropout_service.datasets.tables import datasets as datasets_table
from dropout_service.dispatch.sweep import Sweep, Sweeper
from dropout_service.jobs.attempts import Attempt, Outcome, Report
from dropout_service.jobs.job import Failure, StopReason
from dropout_service.jobs.sql import SqlJobStore
from dropout_service.models.tables import models as models_table
from dropout_service.training.spec import TrainingSpec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

AGE_S = 100.0
SPEC = TrainingSpec.model_validate({"task": "regression", "data": {"dataset": "sha256-4f2a"}})


class World(SimpleNamespace):
    """The stores, a sweep over them, and a clock that a test sets."""

    blobs: BlobStore
    jobs: SqlJobStore
    datasets: DatasetRegistry
    sweep: Sweep
    database: Any
    now = 0.0

    def removed_after(self, seconds: float) -> list[str]:
        self.now += seconds
        return list(self.sweep.look())

    def record_model(self, key: str) -> None:
        row = {"task": "regression", "size_bytes": 1, "digest": "d", "weights_digest": "w", "description": {}}
        with writing(self.database) as connection:
            connection.execute(
                insert(models_table).values(id=key[7:], job_id="job_1", blob_key=key, created_at=now_s(), **row)
            )


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    upgrade(f"sqlite:///{tmp_path}/service.db")
    database = open_database(f"sqlite:///{tmp_path}/service.db")
    world = World(database=database, blobs=BlobStore((tmp_path / "blobs").as_uri()), jobs=SqlJobStore(database))
    world.datasets = DatasetRegistry(database, world.blobs)
    owners = (Owners(database, datasets_table.c.blob_key), Owners(database, models_table.c.blob_key))
    world.sweep = Sweep(world.blobs, world.jobs, *owners, age_s=AGE_S, clock=lambda: world.now)
    yield world
    database.dispose()


def test_a_model_and_an_upload_without_a_row_are_removed_when_they_are_old(world: World):
    orphans = ["datasets/sha256-1/abc", "models/model_lost"]
    for key in orphans:
        world.blobs.put(key, b"x")
    kept = world.datasets.add_content(from_arrays([[1.0], [2.0]], [0, 1]))
    world.blobs.put("models/model_kept", b"x")
    world.record_model("models/model_kept")
    assert world.removed_after(0) == []
    assert world.removed_after(AGE_S - 1) == []
    assert world.removed_after(1) == orphans
    assert world.removed_after(10 * AGE_S) == []
    assert world.blobs.list("models") == ["models/model_kept"]
    assert world.blobs.exists(kept.blob_key)


def test_what_is_recorded_in_time_stays(world: World):
    world.blobs.put("models/model_slow", b"x")
    assert world.removed_after(0) == []
    world.record_model("models/model_slow")
    assert world.removed_after(AGE_S) == []
    assert world.blobs.exists("models/model_slow")


def test_the_count_begins_anew_after_an_outage_and_for_a_name_that_was_used_before(world: World):
    world.blobs.put("models/model_1", b"x")
    world.sweep.look()
    world.sweep.forget()
    assert world.removed_after(AGE_S) == []
    world.blobs.delete("models/model_1")
    assert world.removed_after(AGE_S - 1) == []
    world.blobs.put("models/model_1", b"y")
    assert world.removed_after(1) == []
    assert world.removed_after(AGE_S) == ["models/model_1"]


def test_checkpoints_stay_as_long_as_an_attempt_may_need_them(world: World):
    job = world.jobs.submit(SPEC)
    (job,) = world.jobs.claim(1, dispatcher="d", lease_s=60)
    first = [f"jobs/{job.id}/1/checkpoint-{number}" for number in (1, 2)]
    for key in first:
        world.blobs.put(key, b"x")
    attempt = Attempt(job.id, 1)
    world.jobs.heartbeat(attempt, Report(0.1, checkpoint=first[0]), lease_s=60)
    for _ in range(2):  # the second is written, and the row will name it in a moment
        assert world.removed_after(AGE_S) == []
    world.jobs.crash(attempt, StopReason.LOST, Failure("lost", "training", None, "gone"))
    world.jobs.claim(1, dispatcher="d", lease_s=60)
    second = f"jobs/{job.id}/2/checkpoint-1"
    world.blobs.put(second, b"x")
    assert world.removed_after(0) == []
    assert world.removed_after(AGE_S) == [first[1]], "nobody names it, and its attempt is lost"
    world.jobs.request_pause(job.id)
    world.jobs.release(Attempt(job.id, 2), Report(0.2, checkpoint=second), reason="pause")
    for _ in range(2):
        assert world.removed_after(AGE_S) == []
    world.jobs.request_cancel(job.id)
    assert world.removed_after(0) == []
    assert world.removed_after(AGE_S) == [first[0], second]


def test_checkpoints_of_a_job_that_is_gone_are_removed(world: World):
    job = world.jobs.submit(SPEC)
    world.jobs.claim(1, dispatcher="d", lease_s=60)
    world.jobs.finish(Attempt(job.id, 1), Outcome(StopReason.COMPLETED, model="model_1"))
    world.blobs.put(f"jobs/{job.id}/1/checkpoint-1", b"x")
    world.jobs.delete(job.id)
    world.sweep.look()
    assert world.removed_after(AGE_S) == [f"jobs/{job.id}/1/checkpoint-1"]


def test_an_outage_of_the_blob_store_does_not_end_the_sweeps(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    world.blobs.put("models/model_lost", b"x")
    models = tmp_path / "blobs" / "models"
    models.rename(tmp_path / "away")
    models.symlink_to(models)  # a folder that nobody can list
    with Sweeper(world.sweep, every_s=0.01):
        wait_for(lambda: "cannot list blobs in `models`" in caplog.text, "the outage", patience_s=20)
        models.unlink()
        (tmp_path / "away").rename(models)

        def swept() -> bool:
            world.now += AGE_S
            return not world.blobs.exists("models/model_lost")

        wait_for(swept, "the sweep", patience_s=20)
