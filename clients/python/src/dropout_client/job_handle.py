"""What a handle of a job knows, and what can be done with it, as flows.

:mod:`dropout_client.jobs` makes methods of them, for :class:`Job` and :class:`AsyncJob`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dropout_client.errors import DropoutError
from dropout_client.job_flows import (
    cancel_job,
    delete_job,
    follow_job,
    get_job,
    job_events,
    job_metrics,
    pause_job,
    resume_job,
    succeeded,
)
from dropout_client.model_flows import get_model
from dropout_client.progress import display

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from typing import Any

    from dropout_client.flows import Flow, Stream
    from dropout_client.records import EpochMetrics, Event, Failure, JobAttempt, JobRecord, ModelRecord

__all__ = ["JobState", "cancel", "delete", "events", "metrics", "model", "pause", "refresh", "result", "resume", "wait"]

_QUIET_EVERY_S = 30.0
_SHOWN_EVERY_S = 0.5


class JobState:
    """What is known of a job: as of ``submit``, ``get``, ``wait`` or ``refresh``."""

    record: JobRecord

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

    def trained(self) -> str:
        """Id of its model; an error tells why there is none."""
        model_id = succeeded(self.record).model
        if model_id is None:
            raise DropoutError(f"job {self.id} is {self.status} and has no model yet; wait() for it, or use result()")
        return model_id


def refresh(job: JobState) -> Flow[None]:
    """Ask the service how the job stands now."""
    job.record = yield from get_job(job.id)


def wait(job: JobState, *, progress: bool = True, timeout: float | None = None) -> Flow[None]:
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

        def take(record: JobRecord) -> None:
            job.record = record
            if show is not None:
                show(record)

        every_s = _QUIET_EVERY_S if show is None else _SHOWN_EVERY_S
        yield from follow_job(job.id, take, every_s=every_s, timeout=timeout)
    succeeded(job.record)


def model(job: JobState) -> Flow[ModelRecord]:
    """Get the model that the job trained; the job must have succeeded."""
    return get_model(job.trained())


def result(job: JobState, *, progress: bool = True, timeout: float | None = None) -> Flow[ModelRecord]:
    """Wait for the job, as ``wait`` does, and get its model."""
    yield from wait(job, progress=progress, timeout=timeout)
    return (yield from model(job))


def events(job: JobState, *, after: int = 0) -> Stream[Event]:
    """Iterate what happens to the job, live, until it has ended; ``after`` skips what is already known."""
    return job_events(job.id, after=after)


def metrics(job: JobState) -> Flow[tuple[EpochMetrics, ...]]:
    """Read the metrics of every epoch so far."""
    return job_metrics(job.id)


def cancel(job: JobState) -> Flow[None]:
    """Ask the job to end. It is ``cancelled`` a moment later; to one that is already, nothing happens."""
    job.record = yield from cancel_job(job.id)


def pause(job: JobState) -> Flow[None]:
    """Ask the job to write a checkpoint and stop for now. It is ``paused`` a moment later."""
    job.record = yield from pause_job(job.id)


def resume(job: JobState) -> Flow[None]:
    """Let the paused job go on from its checkpoint."""
    job.record = yield from resume_job(job.id)


def delete(job: JobState, *, model: bool = False) -> Flow[None]:
    """Delete the job, which must have ended; its model stays, unless ``model`` says otherwise."""
    return delete_job(job.id, model=model)
