"""What attempts and the store exchange: reports, outcomes, commands and leases."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from dropout_service.jobs.job import Phase

if TYPE_CHECKING:
    from dropout_service.jobs.job import Failure, StopReason

__all__ = ["HELD_UP_S", "Attempt", "Command", "Fallback", "Lease", "Outcome", "Report", "Restored"]

HELD_UP_S = 0.5
"""Whoever waits so long for the write lock takes no job back: who has a lease may have waited for it as well."""


class Attempt(NamedTuple):
    """One run of a job: the job and the fencing token."""

    job_id: str
    token: int


class Lease(NamedTuple):
    """An attempt that holds a job: who runs it, and when it gave its last sign of life by the database's clock."""

    attempt: Attempt
    dispatcher: str
    heartbeat_at: float


class Command(StrEnum):
    """What an attempt has to do now."""

    OK = "ok"
    PAUSE = "pause"
    """Write a checkpoint and hand the job back."""
    CANCEL = "cancel"
    """Stop; the result is not wanted."""
    FENCED = "fenced"
    """Stop; the job belongs to another attempt, and nothing this one writes counts."""


class Restored(NamedTuple):
    """The checkpoint from which an attempt goes on: complete epochs, and optimizer steps."""

    epoch: int
    step: int


@dataclass(frozen=True, slots=True)
class Fallback:
    """An attempt could not resume from the latest checkpoint, and goes on from less.

    Parameters
    ----------
    checkpoints
        Keys of those that cannot be read.
    epoch
        The epoch in which it goes on.
    message
        What is wrong with them, and from what it goes on instead.
    """

    checkpoints: tuple[str, ...]
    epoch: int
    message: str


@dataclass(frozen=True, slots=True)
class Report:
    """Progress since the last report.

    Parameters
    ----------
    progress
        Fraction of the training that is done, 0 to 1.
    epochs
        Metrics of the epochs completed since the last report, oldest first, each with its number as ``epoch``.
        An epoch that the job already has is left out: a resumed attempt repeats it to the last bit.
    checkpoint
        Key of a checkpoint that is now on disk.
    fallback
        Told once, at the beginning of an attempt that could not resume from the latest checkpoint.
    restored
        The checkpoint from which this attempt goes on; told once, before the first epoch.
    phase
        What the attempt is doing.
    """

    progress: float
    epochs: tuple[dict[str, Any], ...] = ()
    checkpoint: str | None = None
    fallback: Fallback | None = None
    restored: Restored | None = None
    phase: Phase = Phase.TRAINING


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended the job.

    Parameters
    ----------
    stop_reason
        Why it ended; decides the status.
    model
        Id of the model it made, when it succeeded.
    failure
        What went wrong, when it failed.
    """

    stop_reason: StopReason
    model: str | None = None
    failure: Failure | None = None
