"""``client.jobs`` and its handles: :class:`Job`, :class:`AsyncJob`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dropout_client.binding import (
    AsyncResource,
    Resource,
    awaiting,
    awaiting_as,
    awaiting_each,
    blocking,
    blocking_as,
    blocking_each,
)
from dropout_client.errors import DropoutError
from dropout_client.job_flows import (
    cancel_job,
    delete_job,
    follow_job,
    get_job,
    job_events,
    job_metrics,
    list_jobs,
    pause_job,
    resume_job,
    submit_job,
    succeeded,
)
from dropout_client.models import AsyncModel, Model, get_model
from dropout_client.progress import display

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping
    from datetime import datetime
    from typing import Any, Self

    from dropout_client.records import EpochMetrics, Event, Failure, JobAttempt, JobRecord
    from dropout_client.transport import AsyncRunner, Runner

__all__ = ["AsyncJob", "AsyncJobs", "Job", "Jobs"]

_QUIET_EVERY_S = 30.0
_SHOWN_EVERY_S = 0.5


class _JobState:
    """What is known of a job: as of ``submit``, ``get``, ``wait`` or ``refresh``."""

    def __init__(self, record: JobRecord) -> None:
        self.record = record

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.status} {self.progress:.0%}>"

    @property
    def id(self) -> str:
        """The job's id."""
        return self.record.id

    @property
    def name(self) -> str | None:
        """The name that it was given."""
        return self.record.name

    @property
    def status(self) -> str:
        """``queued``, ``running``, ``paused``, ``succeeded``, ``failed``, ...: see ``JobRecord``."""
        return self.record.status

    @property
    def finished(self) -> bool:
        """Whether it has ended, one way or another."""
        return self.record.finished

    @property
    def stop_reason(self) -> str | None:
        """Why it ended: ``completed``, ``early_stopped``, ``max_runtime``, ``diverged``, ..."""
        return self.record.stop_reason

    @property
    def spec(self) -> Mapping[str, Any]:
        """The specification, defaults filled in."""
        return self.record.spec

    @property
    def progress(self) -> float:
        """From 0 to 1."""
        return self.record.progress

    @property
    def epoch(self) -> int | None:
        """Epochs that are complete."""
        return self.record.epoch

    @property
    def latest(self) -> EpochMetrics | None:
        """Metrics of the latest epoch; those of all epochs are ``metrics()``."""
        return self.record.metrics

    @property
    def estimated_finish_at(self) -> datetime | None:
        """When it will end, by its speed so far."""
        return self.record.estimated_finish_at

    @property
    def model_id(self) -> str | None:
        """Id of its model, once it has succeeded."""
        return self.record.model

    @property
    def priority(self) -> int:
        """Jobs with a higher one start earlier."""
        return self.record.priority

    @property
    def attempts(self) -> tuple[JobAttempt, ...]:
        """How each attempt began and ended, and from which checkpoint it went on."""
        return self.record.attempts

    @property
    def failure(self) -> Failure | None:
        """Why it failed."""
        return self.record.failure

    def _trained(self) -> str:
        model_id = succeeded(self.record).model
        if model_id is None:
            raise DropoutError(f"job {self.id} is {self.status} and has no model yet; wait() for it, or use result()")
        return model_id


class Job(_JobState):
    """A training job. Its attributes are as of the last call that asked the service."""

    def __init__(self, runner: Runner, record: JobRecord) -> None:
        super().__init__(record)
        self._runner = runner

    def refresh(self) -> Self:
        """Ask the service how the job stands now."""
        self.record = self._runner.run(get_job(self.id))
        return self

    def wait(self, *, progress: bool = True, timeout: float | None = None) -> Self:
        """Wait until the job has succeeded. A paused job is waited for too: somebody may resume it.

        Parameters
        ----------
        progress
            Show a live bar, in terminals and notebooks; elsewhere nothing is printed.
        timeout
            Seconds after which to stop waiting.

        Raises
        ------
        JobFailedError, JobCancelledError
            The job ended without a model.
        WaitTimeoutError
            The job has not ended in time. It runs on.
        """
        with display(progress=progress) as show:
            every_s = _QUIET_EVERY_S if show is None else _SHOWN_EVERY_S
            for record in self._runner.iterate(follow_job(self.id, every_s=every_s, timeout=timeout)):
                self.record = record
                if show is not None:
                    show(record)
        succeeded(self.record)
        return self

    def model(self) -> Model:
        """Get the model that the job trained; the job must have succeeded."""
        return Model(self._runner, self._runner.run(get_model(self._trained())))

    def result(self, *, progress: bool = True, timeout: float | None = None) -> Model:
        """Wait for the job, as :meth:`wait` does, and get its model."""
        return self.wait(progress=progress, timeout=timeout).model()

    def events(self, *, after: int = 0) -> Iterator[Event]:
        """Iterate what happens to the job, live, until it has ended; ``after`` skips what is already known."""
        return self._runner.iterate(job_events(self.id, after=after))

    def metrics(self) -> tuple[EpochMetrics, ...]:
        """Read the metrics of every epoch so far."""
        return self._runner.run(job_metrics(self.id))

    def cancel(self) -> Self:
        """Ask the job to end. It is ``cancelled`` a moment later; to one that is already, nothing happens."""
        self.record = self._runner.run(cancel_job(self.id))
        return self

    def pause(self) -> Self:
        """Ask the job to write a checkpoint and stop for now. It is ``paused`` a moment later."""
        self.record = self._runner.run(pause_job(self.id))
        return self

    def resume(self) -> Self:
        """Let the paused job go on from its checkpoint."""
        self.record = self._runner.run(resume_job(self.id))
        return self

    def delete(self, *, model: bool = False) -> None:
        """Delete the job, which must have ended; its model stays, unless ``model`` says otherwise."""
        self._runner.run(delete_job(self.id, model=model))


class AsyncJob(_JobState):
    """As :class:`Job`, awaiting."""

    def __init__(self, runner: AsyncRunner, record: JobRecord) -> None:
        super().__init__(record)
        self._runner = runner

    async def refresh(self) -> Self:
        """As :meth:`Job.refresh`."""
        self.record = await self._runner.run(get_job(self.id))
        return self

    async def wait(self, *, progress: bool = True, timeout: float | None = None) -> Self:  # noqa: ASYNC109  # as Job.wait
        """As :meth:`Job.wait`."""
        with display(progress=progress) as show:
            every_s = _QUIET_EVERY_S if show is None else _SHOWN_EVERY_S
            async for record in self._runner.iterate(follow_job(self.id, every_s=every_s, timeout=timeout)):
                self.record = record
                if show is not None:
                    show(record)
        succeeded(self.record)
        return self

    async def model(self) -> AsyncModel:
        """As :meth:`Job.model`."""
        return AsyncModel(self._runner, await self._runner.run(get_model(self._trained())))

    async def result(self, *, progress: bool = True, timeout: float | None = None) -> AsyncModel:  # noqa: ASYNC109  # as Job.result
        """As :meth:`Job.result`."""
        return await (await self.wait(progress=progress, timeout=timeout)).model()

    def events(self, *, after: int = 0) -> AsyncIterator[Event]:
        """As :meth:`Job.events`, for ``async for``."""
        return self._runner.iterate(job_events(self.id, after=after))

    async def metrics(self) -> tuple[EpochMetrics, ...]:
        """As :meth:`Job.metrics`."""
        return await self._runner.run(job_metrics(self.id))

    async def cancel(self) -> Self:
        """As :meth:`Job.cancel`."""
        self.record = await self._runner.run(cancel_job(self.id))
        return self

    async def pause(self) -> Self:
        """As :meth:`Job.pause`."""
        self.record = await self._runner.run(pause_job(self.id))
        return self

    async def resume(self) -> Self:
        """As :meth:`Job.resume`."""
        self.record = await self._runner.run(resume_job(self.id))
        return self

    async def delete(self, *, model: bool = False) -> None:
        """As :meth:`Job.delete`."""
        await self._runner.run(delete_job(self.id, model=model))


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
