from __future__ import annotations

from dropout_service.blobs import BlobStore
from dropout_service.dispatch.checkpoints import Checkpoints
from dropout_service.jobs.job import Job, JobStatus
from dropout_service.training.spec import TrainingSpec

SPEC = TrainingSpec.model_validate({"task": "regression", "data": {"dataset": "sha256-4f2a"}})


def test_the_two_that_the_row_names_are_kept_and_attempts_do_not_meet():
    blobs = BlobStore("memory:///")
    first = Checkpoints(blobs, Job("job_1", SPEC, JobStatus.RUNNING, 0.0, attempt=1))
    keys = [first.write(bytes([number])) for number in range(3)]
    for key in keys:
        first.keep(key)
    assert blobs.list("jobs/job_1") == sorted(keys[1:])

    job = Job("job_1", SPEC, JobStatus.RUNNING, 0.0, attempt=2, checkpoints=(keys[2], keys[1]))
    second = Checkpoints(blobs, job)
    key = second.write(b"new")
    assert key not in keys
    assert blobs.list("jobs/job_1") == sorted([*keys[1:], key])
    second.keep(key)
    assert blobs.list("jobs/job_1") == sorted([keys[2], key])


def test_one_that_cannot_be_read_does_not_push_out_one_that_can():
    blobs = BlobStore("memory:///")
    first = Checkpoints(blobs, Job("job_1", SPEC, JobStatus.RUNNING, 0.0, attempt=1))
    good, bad = first.write(b"good"), first.write(b"bad")

    second = Checkpoints(blobs, Job("job_1", SPEC, JobStatus.RUNNING, 0.0, attempt=2, checkpoints=(bad, good)))
    second.forget([bad])
    new = second.write(b"new")
    second.keep(new)
    assert blobs.list("jobs/job_1") == sorted([good, new])
