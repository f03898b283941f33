"""A job, and the states it goes through.

::

    queued ──> running ──> succeeded | failed
     │^  ^      │ ^│ └─────> cancelling ──> cancelled
     ││  └──────┘ ││
     v│           │v
    paused <─── pausing

A running job goes back to ``queued`` when its attempt was lost or handed back; a pausing one that is resumed in time
simply runs on. Every arrow is in `TRANSITIONS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from dropout_service.errors import InvalidInputError
from dropout_service.training.stored import UnreadableSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dropout_service.training.spec import TrainingSpec

__all__ = [
    "BLOB_FOLDER",
    "DEFAULT_OPTIONS",
    "MAX_ATTEMPTS",
    "MIN_MEMORY_BYTES",
    "MOST_ATTEMPTS",
    "MOST_PRIORITY",
    "THREAD_BYTES",
    "TRANSITIONS",
    "Failure",
    "Job",
    "JobStatus",
    "Phase",
    "RunOptions",
    "StopReason",
]

BLOB_FOLDER = "jobs"
"""Folder of what the attempts of all jobs keep."""
MAX_ATTEMPTS = 3
"""Attempts that may die in a row without a new checkpoint before the job is given up, unless the job says."""
MOST_ATTEMPTS = 20
"""Most attempts that a job may ask for."""
MOST_PRIORITY = 100
"""Priorities lie between this and its negative."""
MIN_MEMORY_BYTES = 1_000_000_000
"""Least memory that a job may be bound to: without any data a training process has 0.3 GB."""
THREAD_BYTES = 100_000_000
"""Memory that each thread beyond the first may take for its stack and the buffers of BLAS."""


class JobStatus(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """Whether the job will never change again."""
        return not TRANSITIONS[self]

    @property
    def active(self) -> bool:
        """Whether an attempt holds the job."""
        return self in {JobStatus.RUNNING, JobStatus.PAUSING, JobStatus.CANCELLING}


TRANSITIONS: Mapping[JobStatus, frozenset[JobStatus]] = {
    JobStatus.QUEUED: frozenset({JobStatus.RUNNING, JobStatus.PAUSED, JobStatus.CANCELLED}),
    JobStatus.RUNNING: frozenset(
        {JobStatus.QUEUED, JobStatus.PAUSING, JobStatus.CANCELLING, JobStatus.SUCCEEDED, JobStatus.FAILED}
    ),
    JobStatus.PAUSING: frozenset(
        {JobStatus.RUNNING, JobStatus.PAUSED, JobStatus.CANCELLING, JobStatus.SUCCEEDED, JobStatus.FAILED}
    ),
    JobStatus.PAUSED: frozenset({JobStatus.QUEUED, JobStatus.CANCELLED}),
    JobStatus.CANCELLING: frozenset({JobStatus.CANCELLED}),
    JobStatus.SUCCEEDED: frozenset(),
    JobStatus.FAILED: frozenset(),
    JobStatus.CANCELLED: frozenset(),
}
"""The legal transitions: from a status, the statuses that may follow."""


class StopReason(StrEnum):
    """Why a job, or one attempt of it, came to its end."""

    COMPLETED = "completed"
    EARLY_STOPPED = "early_stopped"
    MAX_RUNTIME = "max_runtime"
    CANCELLED = "cancelled"
    DIVERGED = "diverged"
    LOST = "lost"
    OUT_OF_MEMORY = "out_of_memory"
    ERROR = "error"

    @property
    def status(self) -> JobStatus:
        """The status of a job that ended for this reason."""
        if self in {StopReason.COMPLETED, StopReason.EARLY_STOPPED, StopReason.MAX_RUNTIME}:
            return JobStatus.SUCCEEDED
        return JobStatus.CANCELLED if self is StopReason.CANCELLED else JobStatus.FAILED


class Phase(StrEnum):
    """What an attempt is doing."""

    LOADING = "loading"
    TRAINING = "training"
    SAVING = "saving"


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong, for the person who submitted the job.

    Parameters
    ----------
    code
        Stable and machine-readable: ``diverged``, ``invalid-input``, ``not-found``, ``out-of-memory``, ``lost``,
        ``crashed``, ``internal-error``.
    phase
        What the attempt was doing; ``None`` from who only saw its process end: the store knows what it told last.
    epoch
        The epoch (from 1) in which it happened, if training had begun.
    message
        What happened.
    hint
        What can be done about it.
    traceback
        Where in the program, without paths of the machine.
    """

    code: str
    phase: Phase | None
    epoch: int | None
    message: str
    hint: str = ""
    traceback: str | None = None


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a job is run; its result does not depend on it.

    Parameters
    ----------
    priority
        The job with the highest is claimed first; among equals the oldest.
    max_memory_bytes
        Memory of an attempt, mapped files not counted; ``None`` for as much as the service grants.
    max_attempts
        Attempts that may die in a row without a new checkpoint.
    """

    priority: int = 0
    max_memory_bytes: int | None = None
    max_attempts: int = MAX_ATTEMPTS


DEFAULT_OPTIONS: Final = RunOptions()
"""What a job gets that asks for nothing else."""


@dataclass(frozen=True, slots=True)
class Job:
    """A training job as it stood at one moment. Times are seconds since 1970 by the database's clock.

    Parameters
    ----------
    id
        ``job_...``; later jobs sort after earlier ones.
    spec
        What to train; its data is always a stored dataset. Or why this version of the service cannot tell.
    status, stop_reason, failure, model
        Where the job stands and, once it has ended, why, what went wrong, and the id of the model it made.
    created_at, started_at, finished_at
        When it was accepted, first claimed, and ended.
    attempt
        Number of the latest attempt, and its fencing token: a write under another number does not count.
    phase
        What the latest attempt is doing, or was when it ended; ``None`` before the first.
    options
        How it is run.
    crashes
        Attempts that have died in a row without a new checkpoint.
    retry_at
        When it may be claimed at the earliest, after attempts that died.
    restored_step
        Optimizer steps of the checkpoint from which the latest attempt goes on, once it has said so.
    dispatcher, lease_expires_at
        Who runs the attempt, and until when it is believed to live without another sign of life.
    progress, epoch
        Fraction of the training that is done, 0 to 1, and epochs completed and recorded.
    rate_since, rate_progress, heartbeat_at
        First report of this attempt (time and progress) and time of the latest: they give the rate of progress.
    checkpoints
        Keys of the checkpoints to resume from, newest first: the one to use, and the one before in case it
        cannot be read.
    last_sequence, metrics_sequence
        Sequence of the latest event, and of the latest that holds the metrics of an epoch.
    metrics
        The metrics of the latest epoch.
    """

    id: str
    spec: TrainingSpec | UnreadableSpec
    status: JobStatus
    created_at: float
    options: RunOptions = DEFAULT_OPTIONS
    stop_reason: StopReason | None = None
    failure: Failure | None = None
    model: str | None = None
    started_at: float | None = None
    finished_at: float | None = None
    attempt: int = 0
    phase: Phase | None = None
    crashes: int = 0
    retry_at: float | None = None
    restored_step: int | None = None
    dispatcher: str | None = None
    lease_expires_at: float | None = None
    progress: float = 0.0
    epoch: int = 0
    rate_since: float | None = None
    rate_progress: float = 0.0
    heartbeat_at: float | None = None
    checkpoints: tuple[str, ...] = ()
    last_sequence: int = 0
    metrics_sequence: int | None = None
    metrics: dict[str, Any] | None = None

    @property
    def name(self) -> str | None:
        """The name that its specification gives it."""
        return self.spec.name

    @property
    def epochs(self) -> int:
        """Epochs that were asked for."""
        return self.spec.epochs

    @property
    def unreadable(self) -> str | None:
        """Why this version of the service cannot read its specification, and so does not run it."""
        return self.spec.reason if isinstance(self.spec, UnreadableSpec) else None

    @property
    def training(self) -> TrainingSpec:
        """What to train.

        Raises
        ------
        InvalidInputError
            This version of the service cannot read it.
        """
        if isinstance(self.spec, UnreadableSpec):
            raise InvalidInputError(f"the job cannot be run: {self.spec.reason}")
        return self.spec

    @property
    def blob_prefix(self) -> str:
        """Folder of what its attempts keep until it has ended."""
        return f"{BLOB_FOLDER}/{self.id}"

    @property
    def estimated_finish_at(self) -> float | None:
        """When the last epoch ends if the attempt goes on at its present rate; early stopping may come first."""
        if self.status is not JobStatus.RUNNING or self.rate_since is None or self.heartbeat_at is None:
            return None
        done = self.progress - self.rate_progress
        elapsed_s = self.heartbeat_at - self.rate_since
        if done <= 0 or elapsed_s <= 0:
            return None
        return self.heartbeat_at + (1 - self.progress) * elapsed_s / done
