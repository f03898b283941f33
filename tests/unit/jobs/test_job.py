from __future__ import annotations

from dataclasses import replace

import pytest

from dropout_service.jobs.events import TERMINAL, EventType
from dropout_service.jobs.job import TRANSITIONS, Job, JobStatus, StopReason
from dropout_service.jobs.lifecycle import Change
from dropout_service.training.spec import TrainingSpec

JOB = Job(
    id="job_1",
    spec=TrainingSpec.model_validate({"task": "regression", "data": {"dataset": "sha256-4f2a"}}),
    status=JobStatus.RUNNING,
    created_at=0.0,
)


@pytest.mark.parametrize("before", list(JobStatus))
@pytest.mark.parametrize("after", list(JobStatus))
def test_only_legal_transitions_are_made(before: JobStatus, after: JobStatus):
    change = Change(replace(JOB, status=before))
    if after in TRANSITIONS[before]:
        assert change.to(after).job.status is after
    else:
        with pytest.raises(AssertionError, match="not a legal transition"):
            change.to(after)


def test_every_status_is_reached_and_the_ended_ones_are_final():
    assert set().union(*TRANSITIONS.values()) == set(JobStatus)
    ended = {status for status in JobStatus if status.terminal}
    assert ended == {JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED}
    assert {reason.status for reason in StopReason} == ended
    assert set(TERMINAL) == {EventType(status) for status in ended}


def test_the_finish_is_estimated_from_the_rate_of_this_attempt():
    job = replace(JOB, progress=0.6, rate_progress=0.5, rate_since=100.0, heartbeat_at=110.0)
    assert job.estimated_finish_at == pytest.approx(110 + 0.4 * 10 / 0.1)


@pytest.mark.parametrize(
    "fields",
    [
        {"status": JobStatus.QUEUED},
        {"rate_since": None},
        {"progress": 0.5},
        {"heartbeat_at": 100.0},
    ],
)
def test_without_a_rate_there_is_no_estimate(fields: dict[str, object]):
    job = replace(JOB, progress=0.6, rate_progress=0.5, rate_since=100.0, heartbeat_at=110.0)
    assert replace(job, **fields).estimated_finish_at is None  # pyright: ignore[reportArgumentType] - a table
