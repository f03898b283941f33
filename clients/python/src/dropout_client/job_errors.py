"""How a job can end otherwise than with a model; part of the tree that ``errors`` draws."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dropout_client.errors import DropoutError

if TYPE_CHECKING:
    from dropout_client.records import Failure

__all__ = ["JobCancelledError", "JobError", "JobFailedError", "WaitTimeoutError"]


class WaitTimeoutError(DropoutError, TimeoutError):
    """A job was not finished in the time given. It runs on: wait again, or cancel it."""


class JobError(DropoutError):
    """A job ended without a model."""

    def __init__(self, job_id: str, *details: object) -> None:
        self.job_id = job_id
        super().__init__(job_id, *details)


class JobFailedError(JobError):
    """A job failed.

    Attributes
    ----------
    code, epoch, hint
        What went wrong, in which epoch (from 1; ``None`` before the first), and what can be changed.
    failure
        All that the service knows of the failure, the traceback among it.
    """

    def __init__(self, job_id: str, failure: Failure) -> None:
        super().__init__(job_id, failure)
        self.failure = failure
        self.code = failure.code
        self.epoch = failure.epoch
        self.hint = failure.hint

    def __str__(self) -> str:
        where = "" if self.epoch is None else f" in epoch {self.epoch}"
        hint = f". Hint: {self.hint}" if self.hint else ""
        return f"job {self.job_id} failed ({self.code}){where}: {self.failure.message.removesuffix('.')}{hint}"


class JobCancelledError(JobError):
    """A job was cancelled."""

    def __str__(self) -> str:
        return f"job {self.job_id} was cancelled"
