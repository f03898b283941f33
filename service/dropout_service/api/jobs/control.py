"""Jobs: cancel, pause, resume, delete."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Query

from dropout_service.api.dependencies import Blobs, Jobs, Models
from dropout_service.api.http.problems import problem_responses
from dropout_service.api.jobs.schemas import JobReport
from dropout_service.errors import NotFoundError

__all__ = ["router"]

router = APIRouter()


@router.post(
    "/{job_id}/cancel",
    operation_id="cancel_job",
    summary="Cancel a job",
    status_code=202,
    responses=problem_responses(404, 409),
)
def cancel_job(job_id: str, jobs: Jobs) -> JobReport:
    """Cancel a job: at once if it waits or is paused, within a second if it runs.

    One that has ended is a conflict (409).
    """
    return JobReport.of(jobs.request_cancel(job_id), jobs.attempts(job_id))


@router.post(
    "/{job_id}/pause",
    operation_id="pause_job",
    summary="Pause a job",
    status_code=202,
    responses=problem_responses(404, 409),
)
def pause_job(job_id: str, jobs: Jobs) -> JobReport:
    """Pause a job: at once if it waits; if it runs, it is `pausing` until it has written a checkpoint.

    A paused job takes no memory and no worker, and stays so until it is resumed or cancelled. Pausing it again changes
    nothing. One that has ended, or is being cancelled, is a conflict (409).
    """
    return JobReport.of(jobs.request_pause(job_id), jobs.attempts(job_id))


@router.post(
    "/{job_id}/resume",
    operation_id="resume_job",
    summary="Resume a paused job",
    status_code=202,
    responses=problem_responses(404, 409),
)
def resume_job(job_id: str, jobs: Jobs) -> JobReport:
    """Let a paused job go on from its checkpoint, with its old place in the queue.

    One that is still `pausing` runs on. Resuming a job that is not paused changes nothing; one that has ended, or is
    being cancelled, is a conflict (409).
    """
    return JobReport.of(jobs.request_resume(job_id), jobs.attempts(job_id))


@router.delete(
    "/{job_id}",
    operation_id="delete_job",
    summary="Delete a job",
    status_code=204,
    responses=problem_responses(404, 409),
)
def delete_job(
    job_id: str,
    jobs: Jobs,
    models: Models,
    blobs: Blobs,
    *,
    model: Annotated[bool, Query(description="Delete its model too.")] = False,
) -> None:
    """Delete a job that has ended, with its events and metrics. Its model stays unless `?model=true`."""
    job = jobs.get(job_id)
    if model and job.status.terminal and job.model is not None:
        with suppress(NotFoundError):  # deleted by itself, or by this request when it was cut short
            models.delete(job.model)
    jobs.delete(job_id)
    blobs.discard_folder(job.blob_prefix)
