"""Real faults of real processes: nothing is lost, nothing is done twice, and neighbours do not notice."""

from __future__ import annotations

import io
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pytest
import waiting
from service_tree import alive

from dropout_service.blobs import BlobStore
from dropout_service.database.engine import open_database
from dropout_service.database.migrate import upgrade
from dropout_service.datasets.inline import from_arrays
from dropout_service.datasets.registry import DatasetRegistry
from dropout_service.dispatch.config import DispatchConfig
from dropout_service.dispatch.launch import CONFIG_VARIABLE
from dropout_service.jobs.events import TERMINAL
from dropout_service.jobs.job import RunOptions
from dropout_service.jobs.sql import SqlJobStore
from dropout_service.models.registry import ModelRegistry
from dropout_service.training.spec import TrainingSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from dropout_service.jobs.job import Job

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

PATIENCE_S = 60.0
wait_for = partial(waiting.wait_for, patience_s=PATIENCE_S)
EPOCHS = 800
HIDDEN = [256, 256]  # so that a job takes some seconds on a fast machine: faults have to meet it


class Service:
    """A database, blobs and a dataset; dispatchers are started over them as a test needs."""

    def __init__(self, folder: Path) -> None:
        self.config = DispatchConfig(
            database_url=f"sqlite:///{folder}/service.db",
            blob_url=(folder / "blobs").as_uri(),
            workers=2,
            heartbeat_s=0.2,
            checkpoint_s=0.2,
            presence_dir=str(folder / "dispatchers"),
        )
        upgrade(self.config.database_url)
        self.database = open_database(self.config.database_url)
        self.jobs = SqlJobStore(self.database)
        self.blobs = BlobStore(self.config.blob_url)
        self.models = ModelRegistry(self.database, self.blobs)
        rng = np.random.default_rng(0)
        x = rng.normal(size=(1000, 16))
        content = from_arrays(x.tolist(), (x[:, 0] * x[:, 1] > 0).astype(int).tolist())
        self.dataset = DatasetRegistry(self.database, self.blobs).add_content(content)

    def submit(self, **fields: Any) -> str:
        return self.jobs.submit(self.spec(**fields)).id

    def spec(self, **fields: Any) -> TrainingSpec:
        spec = {
            "task": "classification",
            "data": {"dataset": self.dataset.id},
            "model": {"hidden": HIDDEN},
            "epochs": EPOCHS,
        }
        return TrainingSpec.model_validate({**spec, **fields})

    def ended(self, job_id: str) -> Job:
        wait_for(lambda: self.jobs.get(job_id).status.terminal, f"the end of {job_id}")
        return self.jobs.get(job_id)

    def result(self, job_id: str) -> tuple[str, list[dict[str, Any]]]:
        """Return the digest of the weights, and the metrics but for the time they took."""
        job = self.ended(job_id)
        assert job.status == "succeeded", job
        metrics = [dict(entry) for entry in self.jobs.metrics(job_id)]
        for entry in metrics:
            del entry["duration_s"]
        return self.models.get(job.model or "").weights_digest, metrics

    def reasons(self, job_id: str) -> list[str]:
        """Return why the job was started again, each time, and check the sequence of its events."""
        events = self.jobs.events(job_id)
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        assert sum(event.type in TERMINAL for event in events) == 1
        return [event.data["reason"] for event in events if event.type == "restarted"]

    @contextmanager
    def dispatcher(self, *, prefix: Sequence[str] = (), **changes: Any) -> Iterator[psutil.Process]:
        environment = {**os.environ, CONFIG_VARIABLE: replace(self.config, **changes).to_json()}
        command = [*prefix, sys.executable, "-m", "dropout_service.dispatch"]
        with subprocess.Popen(command, env=environment) as process:
            try:
                yield psutil.Process(process.pid)
            finally:
                process.terminate()
                process.wait(PATIENCE_S)


def forkserver(dispatcher: psutil.Process) -> psutil.Process:
    (child,) = dispatcher.children()
    return child


def attempts(dispatcher: psutil.Process) -> list[psutil.Process]:
    """Return the processes of the attempts, the oldest first."""
    children = [child for one in dispatcher.children() for child in one.children()]
    return sorted(children, key=lambda child: (child.create_time(), child.pid))


def gone(processes: list[psutil.Process]) -> bool:
    return not any(map(alive, processes))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(tmp_path_factory.mktemp("faults"))
    yield service
    service.database.dispose()


@pytest.fixture(scope="module")
def dispatcher(service: Service) -> Iterator[psutil.Process]:
    """Run one dispatcher for the tests that leave it alive."""
    with service.dispatcher() as process:
        yield process


@pytest.fixture(scope="module")
def undisturbed(service: Service, dispatcher: psutil.Process) -> tuple[str, list[dict[str, Any]]]:
    """Run the job that the others are compared with."""
    assert dispatcher.is_running()
    job_id = service.submit()
    result = service.result(job_id)
    assert service.reasons(job_id) == []
    assert len(result[1]) == EPOCHS
    wait_for(lambda: service.blobs.list(f"jobs/{job_id}") == [], "the end of its checkpoints")
    return result


def test_a_killed_training_goes_on_to_the_same_weights_and_its_neighbour_does_not_notice(
    service: Service, dispatcher: psutil.Process, undisturbed: tuple[str, list[dict[str, Any]]]
):
    victim = service.submit()
    wait_for(lambda: service.jobs.get(victim).checkpoints, "a checkpoint")
    (process,) = attempts(dispatcher)
    neighbour = service.submit()
    wait_for(lambda: service.jobs.get(neighbour).epoch, "the neighbour's first epoch")
    assert not service.jobs.get(victim).status.terminal
    process.kill()
    assert service.result(victim) == undisturbed
    assert service.result(neighbour) == undisturbed
    assert (service.reasons(victim), service.reasons(neighbour)) == (["lost"], [])
    started = [event.data for event in service.jobs.events(victim) if event.type == "started"]
    assert started == [{"attempt": 1, "resumed": False}, {"attempt": 2, "resumed": True}]
    first, second = service.jobs.attempts(victim)
    assert (first.reason, first.message) == ("lost", "the training process was killed from outside")
    assert (second.reason, second.message) == ("completed", None)
    assert second.step is not None
    assert second.epoch is not None
    assert second.epoch * 25 <= second.step <= (second.epoch + 1) * 25, "within the epoch that follows those it counts"


def test_a_training_that_crashes_each_time_is_given_up(service: Service, dispatcher: psutil.Process):
    job_id = service.submit(epochs=1_000_000)
    killed: set[int] = set()
    for attempt in (1, 2, 3):
        wait_for(lambda n=attempt: service.jobs.get(job_id).attempt == n, f"attempt {attempt}")
        wait_for(lambda: [one for one in attempts(dispatcher) if one.pid not in killed], "its process")
        (process,) = [one for one in attempts(dispatcher) if one.pid not in killed]
        killed.add(process.pid)
        process.send_signal(signal.SIGSEGV)
    job = service.ended(job_id)
    assert (job.status, job.stop_reason) == ("failed", "error")
    assert job.failure is not None
    assert job.failure.code == "crashed"
    assert "SIGSEGV" in job.failure.message
    assert "3 times in a row" in job.failure.message
    assert service.reasons(job_id) == ["error", "error"]
    assert dispatcher.is_running()


def test_a_cancelled_training_is_gone_at_once(service: Service, dispatcher: psutil.Process):
    job_id = service.submit(epochs=1_000_000)
    wait_for(lambda: service.jobs.get(job_id).epoch, "the first epoch")
    processes = attempts(dispatcher)
    assert len(processes) == 1
    asked = time.monotonic()
    service.jobs.request_cancel(job_id)
    wait_for(lambda: gone(processes), "the end of the process")
    assert time.monotonic() - asked < 2
    job = service.ended(job_id)
    assert (job.status, job.stop_reason, job.model) == ("cancelled", "cancelled", None)
    wait_for(lambda: service.blobs.list(f"jobs/{job_id}") == [], "the end of its checkpoints")


def test_a_training_that_is_paused_goes_on_to_the_same_weights(
    service: Service, dispatcher: psutil.Process, undisturbed: tuple[str, list[dict[str, Any]]]
):
    job_id = service.submit()
    for pause in (1, 2):
        before = service.jobs.get(job_id).epoch
        wait_for(lambda known=before: service.jobs.get(job_id).epoch > known, "an epoch")
        assert service.jobs.get(job_id).attempt == pause
        processes = attempts(dispatcher)
        assert service.jobs.request_pause(job_id).status == "pausing"
        wait_for(lambda: service.jobs.get(job_id).status == "paused", "the pause")
        wait_for(lambda gone_by=processes: gone(gone_by), "the end of the process")
        (checkpoint, *_) = service.jobs.get(job_id).checkpoints
        assert service.blobs.exists(checkpoint)
        assert service.jobs.request_resume(job_id).status == "queued"
    assert service.result(job_id) == undisturbed
    assert service.reasons(job_id) == []
    types = [event.type for event in service.jobs.events(job_id) if event.type != "epoch"]
    assert types == ["queued", "started", *["pausing", "paused", "resumed", "started", "restored"] * 2, "succeeded"]


def test_a_pause_that_is_called_off_ends_in_the_same_weights(
    service: Service, dispatcher: psutil.Process, undisturbed: tuple[str, list[dict[str, Any]]]
):
    assert dispatcher.is_running()
    job_id = service.submit()
    for _ in range(3):
        before = service.jobs.get(job_id).epoch
        wait_for(lambda known=before: service.jobs.get(job_id).epoch > known, "an epoch")
        service.jobs.request_pause(job_id)
        assert service.jobs.request_resume(job_id).status in {"running", "queued"}
    assert service.result(job_id) == undisturbed
    assert set(service.reasons(job_id)) <= {"pause"}


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Service]:
    """A service whose dispatchers a test stops and kills."""
    service = Service(tmp_path)
    yield service
    service.database.dispose()


def truncate(service: Service, key: str) -> None:
    service.blobs.put(key, service.blobs.get(key)[:-100])


def flip_a_bit(service: Service, key: str) -> None:
    content = bytearray(service.blobs.get(key))
    content[-1000] ^= 1
    service.blobs.put(key, content)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param((truncate, 1, "the checkpoint before"), id="truncated"),
        pytest.param((flip_a_bit, 1, "the checkpoint before"), id="one bit"),
        pytest.param((flip_a_bit, 2, "the start"), id="both"),
    ],
)
def test_a_checkpoint_that_cannot_be_read_costs_time_only(
    alone: Service,
    undisturbed: tuple[str, list[dict[str, Any]]],
    case: tuple[Callable[[Service, str], None], int, str],
):
    damage, how_many, source = case
    with alone.dispatcher(checkpoint_s=0.02) as process:
        job_id = alone.submit()
        wait_for(lambda: len(alone.jobs.get(job_id).checkpoints) == 2, "two checkpoints")
        (victim,) = attempts(process)
        victim.suspend()  # so that no other checkpoint comes
        for key in alone.jobs.get(job_id).checkpoints[:how_many]:
            damage(alone, key)
        victim.kill()
        assert alone.result(job_id) == undisturbed
    told = [event.data for event in alone.jobs.events(job_id) if event.type == "fell_back"]
    assert [(data["attempt"], source in data["message"]) for data in told] == [(2, True)]


def test_a_training_that_needs_too_much_memory_fails_and_says_so(alone: Service):
    with alone.dispatcher(memory_limit_bytes=1_500_000_000):
        job_id = alone.submit(model={"hidden": [20_000, 20_000]}, epochs=1)
        job = alone.ended(job_id)
        after = alone.submit(epochs=1)
        assert alone.ended(after).status == "succeeded"
    assert (job.status, job.stop_reason, job.attempt) == ("failed", "out_of_memory", 1)
    assert job.failure is not None
    assert job.failure.code == "out-of-memory"
    assert job.failure.hint


def test_a_training_that_needs_more_memory_than_its_job_may_have_fails_and_says_so(alone: Service):
    spec = alone.spec(model={"hidden": [14_000, 14_000]}, epochs=1)
    with alone.dispatcher() as process:
        job = alone.ended(alone.jobs.submit(spec, RunOptions(max_memory_bytes=1_500_000_000)).id)
        after = alone.submit(epochs=1)
        assert alone.ended(after).status == "succeeded"
        assert process.is_running()
    assert (job.status, job.stop_reason, job.attempt) == ("failed", "out_of_memory", 1)
    assert job.failure is not None
    assert (job.failure.code, job.failure.phase, job.failure.epoch) == ("out-of-memory", "loading", None)
    assert "max_memory_bytes" in job.failure.hint
    (attempt,) = alone.jobs.attempts(job.id)
    assert (attempt.reason, attempt.message) == ("out_of_memory", job.failure.message)


def test_a_table_larger_than_its_memory_is_trained_on_and_its_files_are_gone_afterwards(alone: Service):
    """Of values and features together three times what the process may have, and of the values alone twice."""
    limit_bytes = 440_000_000  # of which 300 go to what is there without any data
    table, file = np.random.default_rng(0).integers(0, 3, (200_000, 560), np.uint8), io.BytesIO()
    np.save(file, table)
    dataset = DatasetRegistry(alone.database, alone.blobs).add_content(file.getbuffer())
    spec = alone.spec(
        task="regression", data={"dataset": dataset.id}, model={"hidden": [16]}, epochs=1, batch_size=1024
    )
    assert table.size * np.dtype(np.float64).itemsize > 2 * limit_bytes
    room = shutil.disk_usage(alone.blobs.scratch_dir).used
    with alone.dispatcher(memory_limit_bytes=limit_bytes):
        assert alone.ended(alone.jobs.submit(spec).id).stop_reason == "completed"
    assert list(alone.blobs.scratch_dir.iterdir()) == []
    assert shutil.disk_usage(alone.blobs.scratch_dir).used < room + table.nbytes


def test_a_killed_training_on_mapped_files_goes_on_to_the_same_weights(
    alone: Service, undisturbed: tuple[str, list[dict[str, Any]]]
):
    """Its attempt maps every array; when it is killed its files go with it, which have no names."""
    with alone.dispatcher(array_bytes=0) as process:
        job_id = alone.submit()
        wait_for(lambda: alone.jobs.get(job_id).checkpoints, "a checkpoint")
        (victim,) = attempts(process)
        mapped = [one.path for one in victim.memory_maps() if str(alone.blobs.scratch_dir) in one.path]
        victim.kill()
        assert alone.result(job_id) == undisturbed
    assert mapped
    assert list(alone.blobs.scratch_dir.iterdir()) == []


def bounded_user() -> list[str]:
    """Return what to put before a command so that the kernel counts its processes: it does not count those of root."""
    if os.geteuid():
        return []
    may_read = ["--inh-caps=-all,+dac_override", "--ambient-caps=-all,+dac_override"]
    return ["setpriv", "--reuid=65534", "--clear-groups", *may_read]


@pytest.mark.skipif(os.geteuid() == 0 and shutil.which("setpriv") is None, reason="root may have any number")
def test_a_job_waits_for_a_process_to_run_in_and_what_runs_goes_on(alone: Service):
    with alone.dispatcher(prefix=bounded_user()) as process:
        neighbour = alone.submit(epochs=1_000_000)
        wait_for(lambda: alone.jobs.get(neighbour).epoch, "the neighbour's first epoch")
        bound = [*bounded_user(), "prlimit", f"--pid={forkserver(process).pid}"]
        subprocess.run([*bound, "--nproc=1:"], check=True)
        job_id = alone.submit(epochs=1)
        wait_for(lambda: alone.jobs.get(job_id).attempt and alone.jobs.get(job_id).status == "queued", "its return")
        subprocess.run([*bound, "--nproc=10000:"], check=True)
        job = alone.ended(job_id)
        assert (job.status, job.crashes) == ("succeeded", 0)
        assert set(alone.reasons(job_id)) == {"unavailable"}
        assert "no process could be started" in (alone.jobs.attempts(job_id)[0].message or "")
        assert (alone.jobs.get(neighbour).status, alone.jobs.get(neighbour).attempt) == ("running", 1)


def test_a_dispatcher_that_is_stopped_hands_its_jobs_back(
    alone: Service, undisturbed: tuple[str, list[dict[str, Any]]]
):
    with alone.dispatcher(checkpoint_s=600) as process:
        job_id = alone.submit()
        wait_for(lambda: alone.jobs.get(job_id).epoch, "the first epoch")
        process.terminate()
        assert process.wait(PATIENCE_S) == 0
    job = alone.jobs.get(job_id)
    assert (job.status, job.crashes, len(job.checkpoints)) == ("queued", 0, 1)
    with alone.dispatcher():
        assert alone.result(job_id) == undisturbed
    assert alone.reasons(job_id) == ["shutdown"]


def test_a_dispatcher_that_is_asked_twice_to_stop_does_not_wait_for_checkpoints(alone: Service):
    with alone.dispatcher(shutdown_grace_s=600.0) as process:
        job_id = alone.submit(epochs=1_000_000)
        wait_for(lambda: alone.jobs.get(job_id).epoch, "the first epoch")
        (attempt,) = attempts(process)
        attempt.suspend()

        def gone_when_asked_again() -> bool:
            if alive(process):
                process.terminate()
            return not alive(process)

        wait_for(gone_when_asked_again, "the end of the dispatcher")
        assert not alive(attempt)
    job = alone.jobs.get(job_id)
    assert (job.status, job.crashes) == ("queued", 0)
    assert alone.jobs.attempts(job_id)[0].reason == "shutdown"


def test_attempts_die_with_a_killed_dispatcher_and_the_next_goes_on_at_once(
    alone: Service, undisturbed: tuple[str, list[dict[str, Any]]]
):
    with alone.dispatcher(lease_s=600.0) as process:
        job_id = alone.submit()
        wait_for(lambda: alone.jobs.get(job_id).checkpoints, "a checkpoint")
        family = [process, *process.children(recursive=True)]
        assert len(family) == 3
        process.kill()
        wait_for(lambda: gone(family), "the end of the forkserver and the attempt")
    assert alone.jobs.get(job_id).status == "running"
    with alone.dispatcher(lease_s=600.0) as process:  # it need not wait for the lease: all of the other are gone
        wait_for(lambda: alone.jobs.get(job_id).attempt == 2 and alone.jobs.get(job_id).epoch, "attempt 2")
        forkserver(process).kill()
        assert alone.result(job_id) == undisturbed
    assert alone.reasons(job_id) == ["lost", "lost"]


def test_a_frozen_training_is_replaced_and_never_counts_again(
    alone: Service, undisturbed: tuple[str, list[dict[str, Any]]]
):
    with alone.dispatcher(lease_s=1.0) as process:
        job_id = alone.submit()
        wait_for(lambda: alone.jobs.get(job_id).epoch, "the first epoch")
        (frozen,) = attempts(process)
        frozen.suspend()
        wait_for(lambda: alone.jobs.get(job_id).attempt == 2, "the second attempt")
        wait_for(lambda: gone([frozen]), "the end of the frozen one")
        assert alone.result(job_id) == undisturbed
    assert alone.reasons(job_id) == ["lost"]
    assert len(alone.models.list(limit=10)) == 1


@contextmanager
def locked(service: Service) -> Iterator[None]:
    """Hold the write lock of the database."""
    file = service.config.database_url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(file, isolation_level=None, timeout=30)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield


def test_a_training_that_is_killed_before_its_model_is_recorded_makes_another_and_the_first_is_removed(
    alone: Service, undisturbed: tuple[str, list[dict[str, Any]]]
):
    with alone.dispatcher(sweep_s=0.2, lease_s=2.0) as process:
        job_id = alone.submit()
        wait_for(lambda: alone.jobs.get(job_id).epoch, "the first epoch")
        with locked(alone):  # it trains to its end and saves the model, and cannot tell
            wait_for(lambda: alone.blobs.list("models"), "the file of the model")
            (orphan,) = alone.blobs.list("models")
            (attempt,) = attempts(process)
            attempt.kill()
            wait_for(lambda: gone([attempt]), "the end of the process")
        assert alone.result(job_id) == undisturbed
        assert alone.reasons(job_id) == ["lost"]
        wait_for(lambda: not alone.blobs.exists(orphan), "the sweep")
    (model,) = alone.models.list(limit=10)
    assert model.id == alone.jobs.get(job_id).model
    assert alone.blobs.list("models") == [model.blob_key]


def test_files_that_belong_to_nothing_are_removed_and_no_others(alone: Service):
    for key in ("models/model_lost", "jobs/job_lost/1/checkpoint-1", "datasets/sha256-lost/1"):
        alone.blobs.put(key, b"left by a process that was killed")
    with alone.dispatcher(sweep_s=0.2, lease_s=1.0):
        job = alone.ended(alone.submit(epochs=1))
        wait_for(lambda: not alone.blobs.exists("models/model_lost"), "the sweep")
        wait_for(lambda: not alone.blobs.exists("datasets/sha256-lost/1"), "the sweep")
    assert alone.blobs.list("jobs") == []
    assert alone.blobs.list("models") == [alone.models.get(job.model or "").blob_key]
    assert alone.blobs.exists(alone.dataset.blob_key)


def test_a_job_that_is_killed_more_often_than_it_may_be_says_so(service: Service, dispatcher: psutil.Process):
    job_id = service.jobs.submit(service.spec(epochs=1_000_000), RunOptions(max_attempts=1)).id
    wait_for(lambda: attempts(dispatcher) and service.jobs.get(job_id).phase == "training", "its training")
    attempts(dispatcher)[-1].kill()
    job = service.ended(job_id)
    assert (job.status, job.stop_reason, job.attempt) == ("failed", "lost", 1)
    assert job.failure is not None
    assert (job.failure.code, job.failure.phase) == ("lost", "training")
    assert job.failure.message == "the training process was killed from outside; the training ended this way once"
    assert "max_attempts" in job.failure.hint
    assert job.failure.epoch is not None


def test_a_process_that_is_killed_while_it_loads_was_loading(service: Service, dispatcher: psutil.Process):
    registry = DatasetRegistry(service.database, service.blobs)
    dataset = registry.add_content(from_arrays([[0.0], [1.0], [2.0], [3.0]], [0.0, 1.0, 2.0, 3.0]))
    with service.blobs.as_file(dataset.blob_key) as content:
        content.unlink()
        os.mkfifo(content)  # what reads it waits for what is written
    spec = service.spec(task="regression", data={"dataset": dataset.id})
    job_id = service.jobs.submit(spec, RunOptions(max_attempts=1)).id
    writer: list[int] = []

    def is_being_read() -> bool:
        with suppress(OSError):  # while nobody reads
            writer.append(os.open(content, os.O_WRONLY | os.O_NONBLOCK))
        return bool(writer)

    wait_for(is_being_read, "it to load")
    attempts(dispatcher)[-1].kill()
    failure = service.ended(job_id).failure
    assert failure is not None
    assert (failure.code, failure.phase, failure.epoch) == ("lost", "loading", None)
    os.close(writer[0])


@pytest.mark.parametrize(
    ("content", "code", "says"),
    [(None, "not-found", "was removed"), (b"no array", "invalid-input", "no longer what was checked")],
    ids=["gone", "damaged"],
)
def test_a_dataset_that_lost_its_content_ends_its_jobs_and_says_what_to_do(
    service: Service, dispatcher: psutil.Process, content: bytes | None, code: str, says: str
):
    assert dispatcher.is_running()
    registry = DatasetRegistry(service.database, service.blobs)
    rows = [[float(value)] for value in range(20 if content is None else 30)]
    dataset = registry.add_content(from_arrays(rows, [row[0] for row in rows]))
    service.blobs.delete(dataset.blob_key)
    if content is not None:
        service.blobs.put(dataset.blob_key, content)
    job = service.ended(service.submit(task="regression", data={"dataset": dataset.id}, epochs=1))
    assert (job.status, job.stop_reason, job.attempt) == ("failed", "error", 1)
    assert job.failure is not None
    assert (job.failure.code, job.failure.phase, job.failure.epoch) == (code, "loading", None)
    assert says in job.failure.hint
    assert "upload it again" in job.failure.hint
    assert job.failure.message
