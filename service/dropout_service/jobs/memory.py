"""The job store in memory: the same rules without a database, for tests and experiments within one process."""

# ruff: noqa: D102 - documented where the protocol is, in jobs.store

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from dropout_service.database.ids import new_id
from dropout_service.jobs import lifecycle
from dropout_service.jobs.attempts import Attempt, Command, Lease
from dropout_service.jobs.events import EventType
from dropout_service.jobs.history import attempts_of
from dropout_service.jobs.job import DEFAULT_OPTIONS, JobStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping, Sequence

    from dropout_service.jobs.attempts import Outcome, Report
    from dropout_service.jobs.events import Event
    from dropout_service.jobs.history import AttemptRecord
    from dropout_service.jobs.job import Failure, Job, RunOptions, StopReason
    from dropout_service.jobs.lifecycle import Change
    from dropout_service.training.spec import TrainingSpec

__all__ = ["MemoryJobStore"]


class MemoryJobStore:
    """Jobs in memory; see :class:`~dropout_service.jobs.store.JobStore`.

    ``in_transaction`` and ``connection`` are refused: there is no transaction to share.

    Parameters
    ----------
    clock
        Seconds since 1970.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._jobs: dict[str, Job] = {}
        self._events: dict[str, list[Event]] = {}

    def submit(
        self,
        spec: TrainingSpec,
        options: RunOptions = DEFAULT_OPTIONS,
        *,
        in_transaction: None = None,
    ) -> Job:
        _no_transaction(in_transaction)
        with self._lock:
            job_id = new_id("job")
            self._events[job_id] = []
            return self._keep(lifecycle.submitted(job_id, spec, options, self._clock()))

    def claim(self, n: int, *, dispatcher: str, lease_s: float) -> Sequence[Job]:
        with self._lock:
            now = self._clock()
            queued = (job for job in self._jobs.values() if job.status is JobStatus.QUEUED)
            due = [job for job in queued if lifecycle.is_due(job, now)]
            chosen = sorted(due, key=lambda job: (-job.options.priority, job.id))[:n]
            return [self._keep(lifecycle.claimed(job, now, dispatcher=dispatcher, lease_s=lease_s)) for job in chosen]

    def heartbeat(self, attempt: Attempt, report: Report, *, lease_s: float) -> Command:
        with self._lock:
            job = self._jobs.get(attempt.job_id)
            if job is None:
                return Command.FENCED
            self._keep(lifecycle.reported(job, attempt.token, report, self._clock(), lease_s=lease_s))
            return lifecycle.command(job.attempt, job.status, attempt.token)

    def finish(
        self, attempt: Attempt, outcome: Outcome, report: Report | None = None, *, in_transaction: None = None
    ) -> bool:
        _no_transaction(in_transaction)
        with self._lock:
            job = self._jobs.get(attempt.job_id)
            if job is None:
                return False
            change = lifecycle.finished(job, attempt.token, outcome, report, self._clock())
            if change is None:
                return job.attempt == attempt.token and lifecycle.has_ended_with(job, outcome)
            return self._keep(change).stop_reason is outcome.stop_reason

    def release(self, attempt: Attempt, report: Report, *, reason: str, message: str = "") -> bool:
        with self._lock:
            job = self._jobs.get(attempt.job_id)
            if job is None:
                return False
            now = self._clock()
            change = lifecycle.released(job, attempt.token, report, now, reason=reason, message=message)
            return self._keep(change) is not None

    def crash(self, attempt: Attempt, stop_reason: StopReason, failure: Failure) -> Job | None:
        with self._lock:
            job = self._jobs.get(attempt.job_id)
            if job is None:
                return None
            return self._keep(lifecycle.crashed(job, attempt.token, stop_reason, failure, self._clock()))

    def leases(self) -> Sequence[Lease]:
        with self._lock:
            return [
                Lease(Attempt(job.id, job.attempt), job.dispatcher or "", job.heartbeat_at or 0.0)
                for job in self._jobs.values()
                if job.status.active
            ]

    def expired(self, *, exclude: Container[Attempt] = ()) -> Sequence[Job]:
        with self._lock:
            now = self._clock()
            changes = [
                lifecycle.expired(job, now)
                for job in self._jobs.values()
                if Attempt(job.id, job.attempt) not in exclude
            ]
            return [self._keep(change) for change in changes if change is not None]

    def commands(self, attempts: Iterable[Attempt]) -> dict[Attempt, Command]:
        with self._lock:
            found = {attempt: self._jobs.get(attempt.job_id) for attempt in attempts}
        return {
            attempt: Command.FENCED if job is None else lifecycle.command(job.attempt, job.status, attempt.token)
            for attempt, job in found.items()
        }

    def request_cancel(self, job_id: str) -> Job:
        return self._request(job_id, lifecycle.cancel_requested)

    def request_pause(self, job_id: str) -> Job:
        return self._request(job_id, lifecycle.pause_requested)

    def request_resume(self, job_id: str) -> Job:
        return self._request(job_id, lifecycle.resume_requested)

    def _request(self, job_id: str, rule: Callable[[Job, float], Change | None]) -> Job:
        with self._lock:
            job = self.get(job_id)
            change = rule(job, self._clock())
            return job if change is None else self._keep(change)

    def get(self, job_id: str) -> Job:
        with self._lock:
            if job_id not in self._jobs:
                raise lifecycle.no_such(job_id)
            return self._jobs[job_id]

    def list(self, *, limit: int, after: str | None = None, status: JobStatus | None = None) -> Sequence[Job]:
        with self._lock:
            newest_first = sorted(self._jobs.values(), key=lambda job: job.id, reverse=True)
        return [
            job
            for job in newest_first
            if (after is None or job.id < after) and (status is None or job.status is status)
        ][:limit]

    def delete(self, job_id: str) -> None:
        with self._lock:
            job = self.get(job_id)
            lifecycle.check_deletable(job)
            del self._jobs[job_id], self._events[job_id]

    def attempts(self, job_id: str) -> Sequence[AttemptRecord]:
        with self._lock:
            self.get(job_id)
            return attempts_of(self._events[job_id])

    def events(self, job_id: str, *, after: int = 0, limit: int = 1000) -> Sequence[Event]:
        with self._lock:
            self.get(job_id)
            return self._events[job_id][after : after + limit]

    def metrics(self, job_id: str, *, after: int = 0, limit: int = 1000) -> Sequence[dict[str, Any]]:
        with self._lock:
            self.get(job_id)
            epochs = [event.data for event in self._events[job_id] if event.type is EventType.EPOCH]
        return [data for data in epochs if data["epoch"] > after][:limit]

    def sequences(self, job_ids: Sequence[str]) -> Mapping[str, tuple[int, JobStatus]]:
        with self._lock:
            found = [self._jobs[job_id] for job_id in job_ids if job_id in self._jobs]
        return {job.id: (job.last_sequence, job.status) for job in found}

    def uses_dataset(self, dataset_id: str, *, connection: None = None) -> bool:
        _no_transaction(connection)
        with self._lock:
            return any(
                job.training.data.dataset == dataset_id and not job.status.terminal for job in self._jobs.values()
            )

    def _keep(self, change: Change | None) -> Any:
        if change is None:
            return None
        self._jobs[change.job.id] = change.job
        self._events[change.job.id] += change.events
        return change.job


def _no_transaction(shared: object) -> None:
    if shared is not None:
        raise TypeError("the store in memory has no transaction to share")
