"""Corners of the rules that the suite over the stores does not reach."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dropout_service.errors import ConflictError
from dropout_service.jobs import lifecycle
from dropout_service.jobs.attempts import Command, Outcome, Report
from dropout_service.jobs.job import Failure, Job, JobStatus, Phase, RunOptions, StopReason
from dropout_service.training.spec import TrainingSpec

SPEC = TrainingSpec.model_validate({"task": "regression", "data": {"dataset": "sha256-4f2a"}})
PAUSING = Job("job_1", SPEC, JobStatus.PAUSING, 0.0, attempt=2, lease_expires_at=9.0, heartbeat_at=4.0, dispatcher="d")
DIED = Failure("crashed", "training", None, "the process died")


def test_a_pausing_attempt_is_told_to_pause_and_still_reports():
    assert lifecycle.command(2, JobStatus.PAUSING, 2) is Command.PAUSE
    change = lifecycle.reported(PAUSING, 2, Report(0.5, ({"epoch": 1},)), 5.0, lease_s=10)
    assert change is not None
    assert (change.job.lease_expires_at, change.job.epoch) == (15.0, 1)


@pytest.mark.parametrize("way", ["released", "crashed", "expired"])
def test_a_pausing_job_is_paused_when_its_attempt_is_gone(way: str):
    if way == "released":
        change = lifecycle.released(PAUSING, 2, Report(0.5, checkpoint="c"), 5.0, reason="pause")
    elif way == "crashed":
        change = lifecycle.crashed(PAUSING, 2, StopReason.LOST, DIED, 5.0)
    else:
        change = lifecycle.expired(PAUSING, 10.0)
    assert change is not None
    assert (change.job.status, change.job.dispatcher, change.job.lease_expires_at) == ("paused", None, None)
    assert [event.type for event in change.events] == ["paused"]


@pytest.mark.parametrize(
    ("phase", "epoch", "told"),
    [(Phase.TRAINING, None, 10), (Phase.TRAINING, 4, 4), (Phase.LOADING, None, None), (Phase.SAVING, 10, 10)],
)
@pytest.mark.parametrize("done", [9, 10])
@pytest.mark.parametrize("teller", ["the attempt", "who saw its process end"])
def test_a_job_that_is_given_up_names_an_epoch_that_had_begun(
    phase: Phase, epoch: int | None, told: int | None, done: int, teller: str
):
    spec = SPEC.model_copy(update={"epochs": 10})
    job = replace(PAUSING, spec=spec, status=JobStatus.RUNNING, options=RunOptions(max_attempts=1), epoch=done)
    if teller == "the attempt":
        failure = replace(DIED, phase=phase, epoch=epoch)
    else:
        job, failure = replace(job, phase=phase), replace(DIED, phase=None, epoch=epoch)
    change = lifecycle.crashed(job, 2, StopReason.ERROR, failure, 5.0)
    assert change is not None
    assert change.job.failure is not None
    assert (change.job.failure.phase, change.job.failure.epoch) == (phase, told)


def test_a_training_that_ends_before_it_is_paused_has_ended():
    change = lifecycle.finished(PAUSING, 2, Outcome(StopReason.COMPLETED, model="model_1"), None, 5.0)
    assert change is not None
    assert change.job.status is JobStatus.SUCCEEDED


def test_a_pausing_job_can_be_cancelled_and_a_paused_one_at_once():
    change = lifecycle.cancel_requested(PAUSING, 5.0)
    assert change is not None
    assert change.job.status is JobStatus.CANCELLING
    change = lifecycle.cancel_requested(replace(PAUSING, status=JobStatus.PAUSED), 5.0)
    assert change is not None
    assert change.job.status is JobStatus.CANCELLED


def test_an_attempt_cannot_cancel_a_job_that_nobody_cancelled():
    running = replace(PAUSING, status=JobStatus.RUNNING)
    assert lifecycle.finished(running, 2, Outcome(StopReason.CANCELLED), None, 5.0) is None


@pytest.mark.parametrize(("now", "over"), [(3.9, True), (4.0, False), (9.0, False), (9.1, True)])
def test_a_lease_holds_from_the_last_sign_of_life_on(now: float, over: bool):  # noqa: FBT001 - what the decorator lists
    assert (lifecycle.expired(PAUSING, now) is not None) is over


@pytest.mark.parametrize(
    ("retry_at", "due"), [(None, True), (99.0, True), (101.0, False), (160.0, False), (161.0, True)]
)
def test_no_job_waits_for_a_clock_that_was_set_back(retry_at: float | None, due: bool):  # noqa: FBT001 - what the decorator lists
    queued = replace(PAUSING, status=JobStatus.QUEUED, retry_at=retry_at)
    assert lifecycle.is_due(queued, 100.0) is due


def test_an_ended_job_stays_as_it_is():
    ended = replace(PAUSING, status=JobStatus.FAILED)
    assert lifecycle.reported(ended, 2, Report(0.5), 5.0, lease_s=10) is None
    assert lifecycle.expired(ended, 99.0) is None
    with pytest.raises(ConflictError):
        lifecycle.cancel_requested(ended, 5.0)
