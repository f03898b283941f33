"""``client.jobs`` and its handles: :class:`Job`, :class:`AsyncJob`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dropout_client import job_handle
from dropout_client.binding import (
    AsyncResource,
    Resource,
    asking,
    asking_as,
    async_asking,
    async_asking_as,
    async_following,
    async_updating,
    awaiting,
    awaiting_as,
    awaiting_each,
    blocking,
    blocking_as,
    blocking_each,
    following,
    updating,
)
from dropout_client.job_flows import delete_job, get_job, list_jobs, submit_job
from dropout_client.models import AsyncModel, Model

if TYPE_CHECKING:
    from dropout_client.records import JobRecord
    from dropout_client.transport import AsyncRunner, Runner

__all__ = ["AsyncJob", "AsyncJobs", "Job", "Jobs"]


class Job(job_handle.JobState, Resource):
    """A training job. Its attributes are as of the last call that asked the service."""

    def __init__(self, runner: Runner, record: JobRecord) -> None:
        Resource.__init__(self, runner)
        self.record = record

    refresh = updating(job_handle.refresh)
    wait = updating(job_handle.wait)
    cancel = updating(job_handle.cancel)
    pause = updating(job_handle.pause)
    resume = updating(job_handle.resume)
    model = asking_as(Model, job_handle.model)
    result = asking_as(Model, job_handle.result)
    events = following(job_handle.events)
    metrics = asking(job_handle.metrics)
    delete = asking(job_handle.delete)


class AsyncJob(job_handle.JobState, AsyncResource):
    """As :class:`Job`, awaiting; ``events`` is for ``async for``."""

    def __init__(self, runner: AsyncRunner, record: JobRecord) -> None:
        AsyncResource.__init__(self, runner)
        self.record = record

    refresh = async_updating(job_handle.refresh)
    wait = async_updating(job_handle.wait)
    cancel = async_updating(job_handle.cancel)
    pause = async_updating(job_handle.pause)
    resume = async_updating(job_handle.resume)
    model = async_asking_as(AsyncModel, job_handle.model)
    result = async_asking_as(AsyncModel, job_handle.result)
    events = async_following(job_handle.events)
    metrics = async_asking(job_handle.metrics)
    delete = async_asking(job_handle.delete)


class Jobs(Resource):
    """``client.jobs``."""

    submit = blocking_as(Job, submit_job)
    get = blocking_as(Job, get_job)
    list = blocking_each(Job, list_jobs)
    delete = blocking(delete_job)


class AsyncJobs(AsyncResource):
    """``client.jobs``, awaiting; ``list`` is for ``async for``."""

    submit = awaiting_as(AsyncJob, submit_job)
    get = awaiting_as(AsyncJob, get_job)
    list = awaiting_each(AsyncJob, list_jobs)
    delete = awaiting(delete_job)
