"""``JobStore``: decides what runs, when, and whose result counts. Its methods by who calls them.

Every method is one transaction; methods block and may be called by any thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping, Sequence

    from sqlalchemy import Connection

    from dropout_service.jobs.attempts import Attempt, Command, Lease, Outcome, Report
    from dropout_service.jobs.events import Event
    from dropout_service.jobs.history import AttemptRecord
    from dropout_service.jobs.job import Failure, Job, JobStatus, RunOptions, StopReason
    from dropout_service.training.spec import TrainingSpec

__all__ = ["AttemptReports", "JobQueue", "JobReads", "JobRequests", "JobStore"]


class JobRequests(Protocol):
    """Requests of users."""

    def submit(
        self,
        spec: TrainingSpec,
        options: RunOptions = ...,
        *,
        in_transaction: Callable[[Connection, Job], None] | None = None,
    ) -> Job:
        """Accept a job; when this returns, it survives anything but the loss of the disk.

        Parameters
        ----------
        spec
            What to train; its data must be a stored dataset.
        options
            How to run it.
        in_transaction
            Called with the open transaction and the job: what it writes is kept if and only if the job is.
        """
        ...

    def request_cancel(self, job_id: str) -> Job:
        """Cancel a job: at once when it waits, otherwise as soon as its attempt has stopped.

        Raises
        ------
        NotFoundError
            No such job.
        ConflictError
            The job has ended.
        """
        ...

    def request_pause(self, job_id: str) -> Job:
        """Pause a job: at once when it waits, otherwise as soon as its attempt has written a checkpoint.

        Raises
        ------
        NotFoundError
            No such job.
        ConflictError
            The job has ended, or is being cancelled.
        """
        ...

    def request_resume(self, job_id: str) -> Job:
        """Let a paused job go on, from its old place in the queue; one that is not paused yet runs on.

        Raises
        ------
        NotFoundError
            No such job.
        ConflictError
            The job has ended, or is being cancelled.
        """
        ...

    def delete(self, job_id: str) -> None:
        """Delete a job with its events.

        Raises
        ------
        NotFoundError
            No such job.
        ConflictError
            The job has not ended.
        """
        ...


class JobReads(Protocol):
    """Queries."""

    def get(self, job_id: str) -> Job:
        """Read a job.

        Raises
        ------
        NotFoundError
            No such job.
        """
        ...

    def list(self, *, limit: int, after: str | None = None, status: JobStatus | None = None) -> Sequence[Job]:
        """Read up to ``limit`` jobs, newest first, that come after the id ``after`` in that order."""
        ...

    def attempts(self, job_id: str) -> Sequence[AttemptRecord]:
        """Tell how each attempt at a job began and ended, in order.

        Raises
        ------
        NotFoundError
            No such job.
        """
        ...

    def events(self, job_id: str, *, after: int = 0, limit: int = 1000) -> Sequence[Event]:
        """Read up to ``limit`` events with a sequence above ``after``, in order.

        Raises
        ------
        NotFoundError
            No such job.
        """
        ...

    def metrics(self, job_id: str, *, after: int = 0, limit: int = 1000) -> Sequence[dict[str, Any]]:
        """Read the metrics of up to ``limit`` epochs above ``after``, in order.

        Raises
        ------
        NotFoundError
            No such job.
        """
        ...

    def sequences(self, job_ids: Sequence[str]) -> Mapping[str, tuple[int, JobStatus]]:
        """Read the latest event's sequence and the status of several jobs; those that are gone are left out."""
        ...

    def uses_dataset(self, dataset_id: str, *, connection: Connection | None = None) -> bool:
        """Tell whether a job that has not ended needs the dataset; by `connection`, within its transaction."""
        ...


class JobQueue(Protocol):
    """Calls of a dispatcher."""

    def claim(self, n: int, *, dispatcher: str, lease_s: float) -> Sequence[Job]:
        """Take up to ``n`` queued jobs that are due; each now runs under the token ``job.attempt``.

        Those of the highest priority come first, and among them the oldest.
        """
        ...

    def leases(self) -> Sequence[Lease]:
        """Name every attempt that holds a job."""
        ...

    def expired(self, *, exclude: Container[Attempt] = ()) -> Sequence[Job]:
        """Take every job back whose attempt's lease has run out; return them as they are now.

        A lease holds from the last sign of life on: it has also run out when that lies in the future, because the
        clock was set back. ``exclude`` names attempts that are known to live, whatever the clock says.
        """
        ...

    def crash(self, attempt: Attempt, stop_reason: StopReason, failure: Failure) -> Job | None:
        """Report an attempt that died: the job is queued again or given up; ``None`` when it was not held."""
        ...


class AttemptReports(Protocol):
    """Calls of an attempt.

    A write of an attempt names its token and does nothing when the job belongs to another attempt by now.
    """

    def heartbeat(self, attempt: Attempt, report: Report, *, lease_s: float) -> Command:
        """Give a sign of life with the progress made since the last; learn what to do."""
        ...

    def commands(self, attempts: Iterable[Attempt]) -> dict[Attempt, Command]:
        """Tell what each attempt has to do now, without a sign of life."""
        ...

    def release(self, attempt: Attempt, report: Report, *, reason: str, message: str = "") -> bool:
        """Hand a job back to the queue, to be resumed from its checkpoint; ``False`` when it was not held.

        ``reason``, a word, and ``message``, a sentence for the user, are told by the event.
        """
        ...

    def finish(
        self,
        attempt: Attempt,
        outcome: Outcome,
        report: Report | None = None,
        *,
        in_transaction: Callable[[Connection], None] | None = None,
    ) -> bool:
        """End the job with the attempt's result; ``False`` when the result does not count.

        ``in_transaction`` is called with the open transaction when the job has succeeded: the model's row and the job's
        state are written both or not at all.
        """
        ...


class JobStore(JobRequests, JobReads, JobQueue, AttemptReports, Protocol):
    """Jobs and their events."""
