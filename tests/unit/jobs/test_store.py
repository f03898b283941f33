"""One suite over every store: what `JobStore` promises."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from dropout_service.errors import ConflictError, NotFoundError
from dropout_service.jobs.attempts import Attempt, Command, Fallback, Lease, Outcome, Report, Restored
from dropout_service.jobs.job import Failure, Job, JobStatus, Phase, RunOptions, StopReason

if TYPE_CHECKING:
    from collections.abc import Callable

    from dropout_service.jobs.store import JobStore
    from dropout_service.training.spec import TrainingSpec

LEASE_S = 60.0
DIED = Failure(code="crashed", phase=None, epoch=None, message="the process died")


def claim(store: JobStore) -> tuple[Job, Attempt]:
    (job,) = store.claim(1, dispatcher="d", lease_s=LEASE_S)
    return job, Attempt(job.id, job.attempt)


def beat(store: JobStore, attempt: Attempt, progress: float = 0.5, **report: Any) -> Command:
    return store.heartbeat(attempt, Report(progress, **report), lease_s=LEASE_S)


def epochs(*numbers: int) -> tuple[dict[str, Any], ...]:
    return tuple({"epoch": number, "train": {"loss": 1 / number}} for number in numbers)


def types(store: JobStore, job_id: str) -> list[str]:
    return [event.type for event in store.events(job_id)]


def test_a_submitted_job_waits(store: JobStore, spec: TrainingSpec):
    before = time.time()
    job = store.submit(spec)
    assert store.get(job.id) == job
    assert (job.status, job.attempt, job.progress, job.spec) == (JobStatus.QUEUED, 0, 0.0, spec)
    assert before - 1 <= job.created_at <= time.time() + 1
    (event,) = store.events(job.id)
    assert (event.sequence, event.type, event.at) == (1, "queued", job.created_at)


def test_jobs_are_claimed_oldest_first_and_once(store: JobStore, spec: TrainingSpec):
    ids = [store.submit(spec).id for _ in range(4)]
    first = store.claim(3, dispatcher="a", lease_s=LEASE_S)
    second = store.claim(3, dispatcher="b", lease_s=LEASE_S)
    assert [job.id for job in first] == ids[:3]
    assert [job.id for job in second] == ids[3:]
    assert store.claim(3, dispatcher="c", lease_s=LEASE_S) == []
    assert {(job.status, job.attempt, job.dispatcher) for job in first} == {(JobStatus.RUNNING, 1, "a")}
    assert store.get(ids[0]) == first[0]


def test_the_highest_priority_is_claimed_first_and_then_the_oldest(store: JobStore, spec: TrainingSpec):
    by_priority = {
        options.priority: [store.submit(spec, options).id for _ in range(2)]
        for options in map(RunOptions, (0, -3, 5, 100))
    }
    expected = [job_id for priority in sorted(by_priority, reverse=True) for job_id in by_priority[priority]]
    claimed = [store.claim(3, dispatcher="d", lease_s=LEASE_S) for _ in range(3)]
    assert [job.id for jobs in claimed for job in jobs] == expected
    assert [job.options.priority for job in claimed[0]] == [100, 100, 5]


def test_how_a_job_is_run_is_kept(store: JobStore, spec: TrainingSpec):
    job = store.submit(spec, RunOptions(priority=-7, max_attempts=5, max_memory_bytes=2**40))
    assert job.options == RunOptions(priority=-7, max_attempts=5, max_memory_bytes=2**40)
    assert store.get(job.id) == job
    plain = store.submit(spec)
    assert plain.options == RunOptions(priority=0, max_attempts=3, max_memory_bytes=None)


def test_a_death_is_told_with_what_the_attempt_was_last_known_to_do(store: JobStore, spec: TrainingSpec):
    told: list[Phase | None] = []
    for phase in (None, Phase.TRAINING, Phase.SAVING):
        store.submit(spec, RunOptions(max_attempts=1))
        job, attempt = claim(store)
        assert job.phase is Phase.LOADING
        if phase is not None:
            beat(store, attempt, phase=phase)
            assert store.get(job.id).phase is phase
        died = store.crash(attempt, StopReason.LOST, DIED)
        assert died == store.get(job.id)
        assert died.failure is not None
        told.append(died.failure.phase)
    assert told == [Phase.LOADING, Phase.TRAINING, Phase.SAVING]


def test_a_new_attempt_loads_again(store: JobStore, spec: TrainingSpec):
    job_id = store.submit(spec).id
    assert store.get(job_id).phase is None
    _, attempt = claim(store)
    beat(store, attempt, phase=Phase.TRAINING)
    store.crash(attempt, StopReason.LOST, DIED)
    assert store.get(job_id).phase is Phase.TRAINING
    again, _ = claim(store)
    assert again.phase is Phase.LOADING


def test_a_job_that_dies_again_waits_before_it_is_tried_again(
    store: JobStore, spec: TrainingSpec, let_leases_run_out: Callable[[], None]
):
    store.submit(spec, RunOptions(max_attempts=20))
    waits: list[float] = []
    for _ in range(12):
        job, attempt = claim(store)
        assert job.retry_at is None
        store.crash(attempt, StopReason.ERROR, DIED)
        last = store.events(job.id, limit=10_000)[-1]
        waits.append(last.data.get("wait_s", 0.0))
        retry_at = store.get(job.id).retry_at
        if waits[-1]:
            assert retry_at == pytest.approx(last.at + waits[-1])
            assert store.claim(1, dispatcher="d", lease_s=LEASE_S) == []
        else:
            assert retry_at is None
        let_leases_run_out()
    assert waits == [0, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60]


def test_resuming_a_job_that_waits_for_a_retry_lets_it_run_at_once(store: JobStore, spec: TrainingSpec):
    store.submit(spec)
    for _ in range(2):
        job, attempt = claim(store)
        store.crash(attempt, StopReason.ERROR, DIED)
    assert store.claim(1, dispatcher="d", lease_s=LEASE_S) == []
    store.request_pause(job.id)
    store.request_resume(job.id)
    claim(store)


def test_each_attempt_tells_how_it_began_and_ended(
    store: JobStore, spec: TrainingSpec, let_leases_run_out: Callable[[], None]
):
    submitted = store.submit(spec, RunOptions(max_attempts=9))
    assert store.attempts(submitted.id) == ()
    job, attempt = claim(store)
    beat(store, attempt, epochs=epochs(1, 2), checkpoint="c1")
    store.crash(attempt, StopReason.ERROR, DIED)
    _, attempt = claim(store)
    for _ in range(2):  # a report that is repeated, because its answer was lost, is told once
        beat(store, attempt, restored=Restored(epoch=2, step=64))
    assert types(store, job.id).count("restored") == 1
    store.release(attempt, Report(0.3), reason="shutdown")
    _, attempt = claim(store)
    store.request_pause(job.id)
    store.release(attempt, Report(0.4), reason="pause")
    store.request_resume(job.id)
    _, attempt = claim(store)
    store.request_pause(job.id)
    store.crash(attempt, StopReason.LOST, DIED)
    store.request_resume(job.id)
    claim(store)
    let_leases_run_out()
    store.expired()
    let_leases_run_out()
    _, attempt = claim(store)
    (*told, running) = store.attempts(job.id)
    assert (running.number, running.ended_at, running.reason) == (6, None, None)
    assert [one.number for one in told] == [1, 2, 3, 4, 5]
    assert [one.reason for one in told] == ["error", "shutdown", "pause", "lost", "lost"]
    assert [one.message for one in told[:4]] == ["the process died", None, None, "the process died"]
    assert [(one.epoch, one.step) for one in told] == [(None, None), (2, 64), *[(None, None)] * 3]
    assert all(one.started_at <= (one.ended_at or 0) for one in told)
    failure = Failure("diverged", "training", 3, "the loss is NaN")
    store.finish(attempt, Outcome(StopReason.DIVERGED, failure=failure))
    last = store.attempts(job.id)[-1]
    assert (last.reason, last.message, last.ended_at) == ("diverged", "the loss is NaN", store.get(job.id).finished_at)
    with pytest.raises(NotFoundError):
        store.attempts("job_unknown")


def test_cancelling_a_waiting_job_leaves_its_attempts_as_they_were(store: JobStore, spec: TrainingSpec):
    store.submit(spec)
    job, attempt = claim(store)
    store.release(attempt, Report(0.1), reason="shutdown")
    store.request_cancel(job.id)
    assert [one.reason for one in store.attempts(job.id)] == ["shutdown"]


def test_progress_is_recorded_and_read_back(store: JobStore, spec: TrainingSpec):
    store.submit(spec)
    job, attempt = claim(store)
    assert beat(store, attempt, 0.1, epochs=epochs(1)) is Command.OK
    assert beat(store, attempt, 0.3, epochs=epochs(2, 3), checkpoint="c1") is Command.OK
    read = store.get(job.id)
    assert (read.progress, read.epoch, read.checkpoints) == (0.3, 3, ("c1",))
    assert read.metrics == epochs(3)[0]
    assert types(store, job.id) == ["queued", "started", "epoch", "epoch", "epoch"]
    assert store.metrics(job.id) == list(epochs(1, 2, 3))
    assert store.metrics(job.id, after=1, limit=1) == list(epochs(2))
    assert store.list(limit=1)[0].metrics == epochs(3)[0]


def test_a_checkpoint_that_cannot_be_read_is_told_of_once_and_forgotten(store: JobStore, spec: TrainingSpec):
    store.submit(spec)
    job, attempt = claim(store)
    beat(store, attempt, checkpoint="good")
    beat(store, attempt, checkpoint="bad")
    fallback = Fallback(("bad",), 4, "its digest is another")
    for _ in range(2):  # as when the answer to the first was lost
        assert beat(store, attempt, fallback=fallback) is Command.OK
    assert store.get(job.id).checkpoints == ("good",)
    beat(store, attempt, checkpoint="new")
    assert store.get(job.id).checkpoints == ("new", "good")
    assert types(store, job.id) == ["queued", "started", "fell_back"]
    assert store.events(job.id)[-1].data == {"attempt": 1, "epoch": 4, "message": "its digest is another"}


def test_a_job_is_handed_back_with_the_reason(store: JobStore, spec: TrainingSpec):
    store.submit(spec)
    job, attempt = claim(store)
    assert store.release(attempt, Report(0.5), reason="unavailable", message="the disk is full")
    read = store.get(job.id)
    assert (read.status, read.crashes) == (JobStatus.QUEUED, 0)
    told = {"reason": "unavailable", "attempt": 1, "message": "the disk is full", "wait_s": 1.0}
    assert store.events(job.id)[-1].data == told
    assert not store.release(attempt, Report(0.5), reason="unavailable")


def test_an_epoch_is_told_once_though_a_resumed_attempt_repeats_it(store: JobStore, spec: TrainingSpec):
    store.submit(spec)
    job, attempt = claim(store)
    beat(store, attempt, epochs=epochs(1, 2))
    store.crash(attempt, StopReason.LOST, DIED)
    _, attempt = claim(store)
    beat(store, attempt, epochs=epochs(2, 3))
    assert [entry["epoch"] for entry in store.metrics(job.id)] == [1, 2, 3]
    assert [event.sequence for event in store.events(job.id)] == list(range(1, 8))


def test_numbers_that_json_lacks_are_kept_as_text(store: JobStore, spec: TrainingSpec):
    store.submit(spec)
    job, attempt = claim(store)
    beat(store, attempt, epochs=({"epoch": 1, "train": {"loss": float("nan"), "b": [float("-inf")]}},))
    assert store.metrics(job.id)[0]["train"] == {"loss": "NaN", "b": ["-Infinity"]}


@pytest.mark.parametrize("reason", ["completed", "early_stopped", "max_runtime"])
def test_a_finished_job_has_succeeded(store: JobStore, spec: TrainingSpec, reason: str):
    store.submit(spec)
    job, attempt = claim(store)
    outcome = Outcome(StopReason(reason), model="model_1")
    assert store.finish(attempt, outcome, Report(1.0, epochs(1)))
    read = store.get(job.id)
    assert (read.status, read.stop_reason, read.model, read.progress) == ("succeeded", reason, "model_1", 1.0)
    assert read.finished_at is not None
    assert read.lease_expires_at is None
    assert types(store, job.id) == ["queued", "started", "epoch", "succeeded"]
    assert store.events(job.id)[-1].data == {"stop_reason": reason, "model": "model_1"}


def test_a_failed_job_says_why(store: JobStore, spec: TrainingSpec):
    store.submit(spec)
    job, attempt = claim(store)
    failure = Failure("diverged", "training", 3, "the loss is NaN", "lower the learning rate", "Traceback ...")
    assert store.finish(attempt, Outcome(StopReason.DIVERGED, failure=failure))
    read = store.get(job.id)
    assert (read.status, read.stop_reason, read.failure) == ("failed", "diverged", failure)
    assert store.events(job.id)[-1].data["failure"]["hint"] == "lower the learning rate"


def test_nothing_of_a_fenced_attempt_counts(store: JobStore, spec: TrainingSpec):
    store.submit(spec)
    job, old = claim(store)
    store.crash(old, StopReason.LOST, DIED)
    _, new = claim(store)
    before = store.get(job.id), store.events(job.id)
    assert beat(store, old, epochs=epochs(1), checkpoint="old") is Command.FENCED
    assert not store.finish(old, Outcome(StopReason.COMPLETED, model="model_old"))
    assert not store.release(old, Report(0.1), reason="shutdown")
    assert store.crash(old, StopReason.LOST, DIED) is None
    assert (store.get(job.id), store.events(job.id)) == before
    assert store.finish(new, Outcome(StopReason.COMPLETED, model="model_new"))
    assert not store.finish(new, Outcome(StopReason.COMPLETED, model="model_twice"))
    assert store.get(job.id).model == "model_new"
    assert beat(store, Attempt("job_unknown", 1)) is Command.FENCED


def test_a_released_job_waits_again_and_keeps_its_progress(store: JobStore, spec: TrainingSpec):
    store.submit(spec, RunOptions(max_attempts=1))
    job, attempt = claim(store)
    beat(store, attempt, 0.2)
    assert store.release(attempt, Report(0.4, epochs(1), "c1"), reason="shutdown")
    read = store.get(job.id)
    assert (read.status, read.progress, read.checkpoints, read.crashes) == ("queued", 0.4, ("c1",), 0)
    assert read.estimated_finish_at is None
    again, _ = claim(store)
    assert (again.attempt, again.checkpoints, again.started_at) == (2, ("c1",), job.started_at)
    told = store.events(job.id)
    assert [event.type for event in told] == ["queued", "started", "epoch", "restarted", "started"]
    assert told[3].data == {"reason": "shutdown", "attempt": 1}
    assert told[4].data == {"attempt": 2, "resumed": True}


def test_a_job_that_dies_each_time_is_given_up(
    store: JobStore, spec: TrainingSpec, let_leases_run_out: Callable[[], None]
):
    job = store.submit(spec, RunOptions(max_attempts=3))
    for expected in ("queued", "queued", "failed"):
        _, attempt = claim(store)
        after = store.crash(attempt, StopReason.OUT_OF_MEMORY, DIED)
        assert after is not None
        assert after.status == expected
        let_leases_run_out()
    read = store.get(job.id)
    assert read.stop_reason is StopReason.OUT_OF_MEMORY
    assert read.failure is not None
    assert "3 times in a row" in read.failure.message
    assert types(store, job.id) == ["queued", *["started", "restarted"] * 2, "started", "failed"]
    assert store.events(job.id)[2].data["reason"] == "out_of_memory"


def test_a_new_checkpoint_begins_a_new_row_of_crashes(store: JobStore, spec: TrainingSpec):
    job = store.submit(spec, RunOptions(max_attempts=2))
    for number in range(5):
        _, attempt = claim(store)
        beat(store, attempt, checkpoint=f"c{number}")
        store.crash(attempt, StopReason.LOST, DIED)
    read = store.get(job.id)
    assert (read.status, read.crashes, read.checkpoints) == ("queued", 1, ("c4", "c3"))


def test_an_attempt_without_a_sign_of_life_is_taken_back(
    store: JobStore, spec: TrainingSpec, let_leases_run_out: Callable[[], None]
):
    store.submit(spec)
    job, attempt = claim(store)
    assert store.expired() == []
    assert store.leases() == [Lease(attempt, "d", job.heartbeat_at or 0.0)]
    let_leases_run_out()
    assert store.expired(exclude={attempt}) == []
    assert [taken.status for taken in store.expired(exclude={Attempt(job.id, 2)})] == ["queued"]
    assert store.leases() == []
    assert store.expired() == []
    assert beat(store, attempt) is Command.FENCED
    assert store.events(job.id)[-1].data["reason"] == "lost"


def test_a_sign_of_life_renews_the_lease(store: JobStore, spec: TrainingSpec, let_leases_run_out: Callable[[], None]):
    store.submit(spec)
    _, attempt = claim(store)
    let_leases_run_out()
    assert beat(store, attempt) is Command.OK
    assert store.expired() == []


def test_a_waiting_job_is_cancelled_at_once(store: JobStore, spec: TrainingSpec):
    job = store.submit(spec)
    assert store.request_cancel(job.id).status is JobStatus.CANCELLED
    assert store.claim(1, dispatcher="d", lease_s=LEASE_S) == []
    assert types(store, job.id) == ["queued", "cancelled"]
    with pytest.raises(ConflictError, match="has cancelled"):
        store.request_cancel(job.id)


@pytest.mark.parametrize("way", ["finish", "finish-cancelled", "release", "crash", "expire"])
def test_a_running_job_is_cancelled_when_its_attempt_stops(
    store: JobStore, spec: TrainingSpec, let_leases_run_out: Callable[[], None], way: str
):
    store.submit(spec)
    job, attempt = claim(store)
    assert store.request_cancel(job.id).status is JobStatus.CANCELLING
    assert store.request_cancel(job.id).status is JobStatus.CANCELLING
    assert store.commands([attempt]) == {attempt: Command.CANCEL}
    assert beat(store, attempt, epochs=epochs(1)) is Command.CANCEL
    if way == "finish":
        assert not store.finish(attempt, Outcome(StopReason.COMPLETED, model="model_1"))
    elif way == "finish-cancelled":
        assert store.finish(attempt, Outcome(StopReason.CANCELLED))
    elif way == "release":
        assert store.release(attempt, Report(0.5), reason="shutdown")
    elif way == "crash":
        store.crash(attempt, StopReason.ERROR, DIED)
    else:
        let_leases_run_out()
        store.expired()
    read = store.get(job.id)
    assert (read.status, read.stop_reason, read.model) == ("cancelled", "cancelled", None)
    assert types(store, job.id) == ["queued", "started", "cancelling", "cancelled"]


def test_a_waiting_job_is_paused_at_once_and_resumed_in_its_old_place(store: JobStore, spec: TrainingSpec):
    first, second = store.submit(spec), store.submit(spec)
    assert store.request_pause(first.id).status is JobStatus.PAUSED
    assert store.request_pause(first.id).status is JobStatus.PAUSED
    assert [job.id for job in store.claim(2, dispatcher="d", lease_s=LEASE_S)] == [second.id]
    third = store.submit(spec)
    assert store.uses_dataset("sha256-4f2a")
    with pytest.raises(ConflictError, match="is paused"):
        store.delete(first.id)
    assert store.request_resume(first.id).status is JobStatus.QUEUED
    assert store.request_resume(first.id).status is JobStatus.QUEUED
    assert [job.id for job in store.claim(2, dispatcher="d", lease_s=LEASE_S)] == [first.id, third.id]
    assert types(store, first.id) == ["queued", "paused", "resumed", "started"]


@pytest.mark.parametrize("way", ["release", "crash", "expire"])
def test_a_running_job_is_paused_when_its_attempt_has_stopped(
    store: JobStore, spec: TrainingSpec, let_leases_run_out: Callable[[], None], way: str
):
    store.submit(spec)
    job, attempt = claim(store)
    beat(store, attempt, 0.2, checkpoint="c1")
    assert store.request_pause(job.id).status is JobStatus.PAUSING
    assert store.request_pause(job.id).status is JobStatus.PAUSING
    assert store.commands([attempt]) == {attempt: Command.PAUSE}
    assert beat(store, attempt, epochs=epochs(1)) is Command.PAUSE
    if way == "release":
        assert store.release(attempt, Report(0.5, checkpoint="c2"), reason="pause")
    elif way == "crash":
        store.crash(attempt, StopReason.ERROR, DIED)
    else:
        let_leases_run_out()
        store.expired()
    read = store.get(job.id)
    assert (read.status, read.dispatcher, read.lease_expires_at) == ("paused", None, None)
    assert read.checkpoints == (("c2", "c1") if way == "release" else ("c1",))
    assert store.expired() == []
    assert beat(store, attempt) is Command.FENCED
    assert store.claim(1, dispatcher="d", lease_s=LEASE_S) == []
    store.request_resume(job.id)
    _, again = claim(store)
    assert again.token == 2
    assert types(store, job.id) == ["queued", "started", "pausing", "epoch", "paused", "resumed", "started"]


def test_a_job_that_is_resumed_before_its_attempt_has_stopped_runs_on(store: JobStore, spec: TrainingSpec):
    store.submit(spec)
    job, attempt = claim(store)
    store.request_pause(job.id)
    assert store.request_resume(job.id).status is JobStatus.RUNNING
    assert store.request_resume(job.id).status is JobStatus.RUNNING
    assert beat(store, attempt) is Command.OK
    assert store.finish(attempt, Outcome(StopReason.COMPLETED, model="model_1"))
    assert types(store, job.id) == ["queued", "started", "pausing", "resumed", "succeeded"]


@pytest.mark.parametrize("paused", ["paused", "pausing"])
def test_a_paused_job_can_be_cancelled(store: JobStore, spec: TrainingSpec, paused: str):
    store.submit(spec)
    job, attempt = claim(store)
    store.request_pause(job.id)
    if paused == "paused":
        store.release(attempt, Report(0.5), reason="pause")
    assert store.get(job.id).status == paused
    assert store.request_cancel(job.id).status == ("cancelled" if paused == "paused" else "cancelling")
    for request in (store.request_pause, store.request_resume):
        with pytest.raises(ConflictError, match=r"(is cancelling|has cancelled) and can no longer be"):
            request(job.id)
    store.finish(attempt, Outcome(StopReason.CANCELLED))
    assert store.get(job.id).status is JobStatus.CANCELLED


def test_an_ended_job_is_neither_paused_nor_resumed(store: JobStore, spec: TrainingSpec):
    store.submit(spec)
    job, attempt = claim(store)
    store.request_pause(job.id)
    assert store.finish(attempt, Outcome(StopReason.COMPLETED, model="model_1"))
    assert store.get(job.id).status is JobStatus.SUCCEEDED
    with pytest.raises(ConflictError, match="has succeeded and can no longer be paused"):
        store.request_pause(job.id)
    with pytest.raises(ConflictError, match="has succeeded and can no longer be resumed"):
        store.request_resume(job.id)


def test_verdicts_of_several_attempts(store: JobStore, spec: TrainingSpec):
    store.submit(spec)
    _, running = claim(store)
    other, unknown = Attempt(running.job_id, running.token + 1), Attempt("job_unknown", 1)
    assert store.commands([running, other, unknown]) == {
        running: Command.OK,
        other: Command.FENCED,
        unknown: Command.FENCED,
    }
    assert store.commands([]) == {}


def test_lists_are_newest_first_in_pages_and_by_status(store: JobStore, spec: TrainingSpec):
    ids = [store.submit(spec).id for _ in range(5)]
    claim(store)
    assert [job.id for job in store.list(limit=10)] == ids[::-1]
    assert [job.id for job in store.list(limit=2, after=ids[3])] == [ids[2], ids[1]]
    assert [job.id for job in store.list(limit=10, status=JobStatus.RUNNING)] == [ids[0]]
    assert [job.id for job in store.list(limit=2, status=JobStatus.QUEUED, after=ids[4])] == [ids[3], ids[2]]


def test_events_come_in_pages(store: JobStore, spec: TrainingSpec):
    store.submit(spec)
    job, attempt = claim(store)
    beat(store, attempt, epochs=epochs(*range(1, 11)))
    assert [event.sequence for event in store.events(job.id, after=3, limit=4)] == [4, 5, 6, 7]
    assert store.events(job.id, after=12) == []


def test_only_an_ended_job_is_deleted(store: JobStore, spec: TrainingSpec):
    job = store.submit(spec)
    with pytest.raises(ConflictError, match="cancel it before"):
        store.delete(job.id)
    store.request_cancel(job.id)
    store.delete(job.id)
    requests = (store.request_cancel, store.request_pause, store.request_resume)
    for read in (store.get, store.events, store.metrics, store.delete, *requests):
        with pytest.raises(NotFoundError, match=job.id):
            read(job.id)


def test_the_watcher_reads_many_jobs_at_once(store: JobStore, spec: TrainingSpec):
    ids = [store.submit(spec).id for _ in range(3)]
    store.request_cancel(ids[1])
    assert store.sequences([*ids[:2], "job_gone"]) == {
        ids[0]: (1, JobStatus.QUEUED),
        ids[1]: (2, JobStatus.CANCELLED),
    }


def test_a_dataset_is_in_use_until_its_last_job_has_ended(store: JobStore, spec: TrainingSpec):
    assert not store.uses_dataset("sha256-4f2a")
    job = store.submit(spec)
    assert store.uses_dataset("sha256-4f2a")
    assert not store.uses_dataset("sha256-other")
    store.request_cancel(job.id)
    assert not store.uses_dataset("sha256-4f2a")
