"""The rules by which a job changes: pure functions that every store applies within its own transactions.

Each takes the job as it stands and the time by the store's clock, and returns the job as it becomes together with
the events that tell of it. A function of an attempt takes its token and returns ``None`` when the attempt no longer
holds the job (fencing): the store then writes nothing.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from dropout_service.errors import ConflictError, NotFoundError
from dropout_service.jobs.attempts import Command
from dropout_service.jobs.events import Event, EventType, jsonable
from dropout_service.jobs.job import TRANSITIONS, Failure, Job, JobStatus, Phase, StopReason

if TYPE_CHECKING:
    from dropout_service.jobs.attempts import Fallback, Outcome, Report
    from dropout_service.jobs.job import RunOptions
    from dropout_service.training.spec import TrainingSpec

__all__ = [
    "KEPT_CHECKPOINTS",
    "LONGEST_WAIT_S",
    "UNAVAILABLE",
    "Change",
    "cancel_requested",
    "check_deletable",
    "claimed",
    "command",
    "crashed",
    "expired",
    "finished",
    "has_ended_with",
    "is_due",
    "no_such",
    "pause_requested",
    "released",
    "reported",
    "resume_requested",
    "submitted",
]

LONGEST_WAIT_S = 60.0
"""Longest time between an attempt that died and the next."""
_AWAY_S = 1.0
"""Time before a job that could not run for want of something is tried again."""
UNAVAILABLE = "unavailable"
"""Why a job was handed back that could not run, for want of a process, a thread or the blob store."""
KEPT_CHECKPOINTS = 2
"""The one to resume from, and the one before in case it cannot be read."""


@dataclass(frozen=True, slots=True)
class Change:
    """A job as it becomes, and the events that tell of it."""

    job: Job
    events: tuple[Event, ...] = ()

    def to(self, status: JobStatus, **fields: Any) -> Change:
        """Move the job to another status, which must be a legal transition."""
        if status not in TRANSITIONS[self.job.status]:
            raise AssertionError(f"{self.job.status} -> {status} is not a legal transition")
        return replace(self, job=replace(self.job, status=status, **fields))

    def tell(self, kind: EventType, now: float, **data: Any) -> Change:
        """Append an event."""
        job = replace(self.job, last_sequence=self.job.last_sequence + 1)
        return Change(job, (*self.events, Event(job.id, job.last_sequence, kind, now, jsonable(data))))


def submitted(job_id: str, spec: TrainingSpec, options: RunOptions, now: float) -> Change:
    """Accept a job."""
    job = Job(id=job_id, spec=spec, status=JobStatus.QUEUED, created_at=now, options=options)
    return Change(job).tell(EventType.QUEUED, now)


def is_due(job: Job, now: float) -> bool:
    """Whether a queued job may begin; one that waits longer than any may does so because the clock was set back."""
    return job.retry_at is None or not now < job.retry_at <= now + LONGEST_WAIT_S


def claimed(job: Job, now: float, *, dispatcher: str, lease_s: float) -> Change:
    """Give a queued job to a dispatcher, under a new token."""
    return (
        Change(job)
        .to(
            JobStatus.RUNNING,
            attempt=job.attempt + 1,
            phase=Phase.LOADING,
            started_at=now if job.started_at is None else job.started_at,
            dispatcher=dispatcher,
            lease_expires_at=now + lease_s,
            retry_at=None,
            restored_step=None,
            rate_since=None,
            heartbeat_at=now,
        )
        .tell(EventType.STARTED, now, attempt=job.attempt + 1, resumed=bool(job.checkpoints))
    )


def command(attempt: int, status: JobStatus, token: int) -> Command:
    """Tell the attempt under ``token`` what to do, from the job's latest attempt and status."""
    if attempt != token or not status.active:
        return Command.FENCED
    if status is JobStatus.CANCELLING:
        return Command.CANCEL
    return Command.PAUSE if status is JobStatus.PAUSING else Command.OK


def reported(job: Job, token: int, report: Report, now: float, *, lease_s: float) -> Change | None:
    """Take a sign of life with the progress made; while cancelling too, but then nothing is recorded."""
    orders = command(job.attempt, job.status, token)
    if orders is Command.FENCED:
        return None
    change = Change(replace(job, lease_expires_at=now + lease_s, heartbeat_at=now))
    return change if orders is Command.CANCEL else _progressed(change, report, now)


def finished(job: Job, token: int, outcome: Outcome, report: Report | None, now: float) -> Change | None:
    """End the job with what its attempt achieved. A job that is being cancelled can only end as cancelled."""
    orders = command(job.attempt, job.status, token)
    if orders is Command.FENCED:
        return None
    if orders is Command.CANCEL or outcome.stop_reason is StopReason.CANCELLED:
        return _cancelled(job, now) if orders is Command.CANCEL else None
    change = Change(job) if report is None else _progressed(Change(job), report, now)
    return _ended(change, outcome.stop_reason, now, model=outcome.model, failure=outcome.failure)


def has_ended_with(job: Job, outcome: Outcome) -> bool:
    """Whether the job has ended with this very result: its commit came through, and only the answer got lost."""
    return job.model is not None and job.model == outcome.model


def released(job: Job, token: int, report: Report, now: float, *, reason: str, message: str = "") -> Change | None:
    """Hand the job back to the queue, with its progress; this does not count against the attempts."""
    orders = command(job.attempt, job.status, token)
    if orders is Command.FENCED:
        return None
    if orders is Command.CANCEL:
        return _cancelled(job, now)
    wait_s = _AWAY_S if reason == UNAVAILABLE else 0.0
    return _handed_back(_progressed(Change(job), report, now), now, reason=reason, message=message, wait_s=wait_s)


def crashed(job: Job, token: int, stop_reason: StopReason, failure: Failure, now: float) -> Change | None:
    """Deal with an attempt that died: queue the job again, or give it up when too many died in a row."""
    orders = command(job.attempt, job.status, token)
    if orders is Command.FENCED:
        return None
    if orders is Command.CANCEL:
        return _cancelled(job, now)
    crashes = job.crashes + 1
    change = Change(replace(job, crashes=crashes))
    if crashes < job.options.max_attempts:
        # The first death may be an accident of the machine; from the second on the job is suspected.
        wait_s = min(2.0 ** (crashes - 2), LONGEST_WAIT_S) if crashes > 1 else 0.0
        return _handed_back(change, now, reason=stop_reason, message=failure.message, wait_s=wait_s)
    times = "once" if crashes == 1 else f"{crashes} times in a row without a new checkpoint"
    phase, epoch = failure.phase or job.phase, failure.epoch
    if epoch is None and phase is Phase.TRAINING:
        epoch = min(job.epoch + 1, job.epochs)
    given_up = replace(
        failure, phase=phase, epoch=epoch, message=f"{failure.message}; the training ended this way {times}"
    )
    return _ended(change, stop_reason, now, failure=given_up)


def expired(job: Job, now: float) -> Change | None:
    """Deal with an attempt that has given no sign of life for the length of its lease.

    One that gave its last in the future, because the clock was set back since, is not waited for until then.
    """
    if not job.status.active or job.lease_expires_at is None or job.heartbeat_at is None:
        return None
    if job.heartbeat_at <= now <= job.lease_expires_at:
        return None
    failure = Failure(
        code="lost",
        phase=None,
        epoch=None,
        message=f"attempt {job.attempt} gave no more sign of life",
        hint="The machine or the dispatcher that ran it went away. Submit the job again once it is back.",
    )
    return crashed(job, job.attempt, StopReason.LOST, failure, now)


def cancel_requested(job: Job, now: float) -> Change | None:
    """Cancel: at once when no attempt holds the job; ``None`` when it is already being cancelled.

    Raises
    ------
    ConflictError
        When the job has ended.
    """
    if job.status.terminal:
        raise ConflictError(_too_late(job, "cancelled"))
    if job.status is JobStatus.CANCELLING:
        return None
    if job.status.active:
        return Change(job).to(JobStatus.CANCELLING).tell(EventType.CANCELLING, now)
    return _cancelled(job, now)


def pause_requested(job: Job, now: float) -> Change | None:
    """Pause: at once when no attempt holds the job; ``None`` when it is paused, or about to be.

    Raises
    ------
    ConflictError
        When the job has ended, or is being cancelled.
    """
    if job.status in {JobStatus.PAUSING, JobStatus.PAUSED}:
        return None
    if job.status is JobStatus.RUNNING:
        return Change(job).to(JobStatus.PAUSING).tell(EventType.PAUSING, now)
    if job.status is JobStatus.QUEUED:
        return Change(job).to(JobStatus.PAUSED, retry_at=None).tell(EventType.PAUSED, now, attempt=job.attempt)
    raise ConflictError(_too_late(job, "paused"))


def resume_requested(job: Job, now: float) -> Change | None:
    """Let a paused job go on; ``None`` when nothing holds it up.

    A paused job takes its old place in the queue. One whose attempt has not stopped yet runs on; if that attempt
    has already set out to leave, it hands the job back to the queue.

    Raises
    ------
    ConflictError
        When the job has ended, or is being cancelled.
    """
    if job.status in {JobStatus.QUEUED, JobStatus.RUNNING}:
        return None
    if job.status is JobStatus.PAUSED:
        return Change(job).to(JobStatus.QUEUED).tell(EventType.RESUMED, now)
    if job.status is JobStatus.PAUSING:
        return Change(job).to(JobStatus.RUNNING).tell(EventType.RESUMED, now)
    raise ConflictError(_too_late(job, "resumed"))


def check_deletable(job: Job) -> None:
    """Let a job be deleted.

    Raises
    ------
    ConflictError
        When it has not ended.
    """
    if not job.status.terminal:
        raise ConflictError(f"job {job.id} is {job.status}; cancel it before you delete it")


def no_such(job_id: str) -> NotFoundError:
    """Say that there is no job with this id."""
    return NotFoundError(f"there is no job {job_id!r}")


def _too_late(job: Job, asked: str) -> str:
    present = f"has {job.status}" if job.status.terminal else f"is {job.status}"
    return f"job {job.id} {present} and can no longer be {asked}"


def _progressed(change: Change, report: Report, now: float) -> Change:
    if report.fallback is not None:
        change = _fell_back(change, report.fallback, now)
    if report.restored is not None and change.job.restored_step is None:  # else told by a report whose answer was lost
        change = replace(change, job=replace(change.job, restored_step=report.restored.step))
        change = change.tell(EventType.RESTORED, now, attempt=change.job.attempt, **report.restored._asdict())
    for epoch in report.epochs:
        if epoch["epoch"] <= change.job.epoch:
            continue
        change = change.tell(EventType.EPOCH, now, **epoch)
        job = replace(
            change.job,
            epoch=epoch["epoch"],
            metrics=change.events[-1].data,
            metrics_sequence=change.job.last_sequence,
        )
        change = replace(change, job=job)
    job = change.job
    first = job.rate_since is None
    checkpoints, crashes = job.checkpoints, job.crashes
    # A report whose answer got lost is sent again, and its checkpoint is not a new one then.
    if report.checkpoint is not None and report.checkpoint not in checkpoints:
        checkpoints = (report.checkpoint, *checkpoints)[:KEPT_CHECKPOINTS]
        crashes = 0  # a new checkpoint is progress: the next crash is the first of a new row
    return replace(
        change,
        job=replace(
            job,
            progress=report.progress,
            phase=report.phase,
            rate_since=now if first else job.rate_since,
            rate_progress=report.progress if first else job.rate_progress,
            checkpoints=checkpoints,
            crashes=crashes,
        ),
    )


def _fell_back(change: Change, fallback: Fallback, now: float) -> Change:
    """Forget the checkpoints that cannot be read, so that the next one does not push out the last that can."""
    job = change.job
    readable = tuple(key for key in job.checkpoints if key not in fallback.checkpoints)
    if readable == job.checkpoints:  # told before, by a report whose answer was lost
        return change
    forgotten = replace(change, job=replace(job, checkpoints=readable))
    told = {"attempt": job.attempt, "epoch": fallback.epoch, "message": fallback.message}
    return forgotten.tell(EventType.FELL_BACK, now, **told)


def _handed_back(change: Change, now: float, *, reason: str, message: str = "", wait_s: float = 0.0) -> Change:
    job = change.job
    idle = {"dispatcher": None, "lease_expires_at": None}
    died = {"reason": reason, "message": message} if message else {}
    if job.status is JobStatus.PAUSING:
        return change.to(JobStatus.PAUSED, **idle).tell(EventType.PAUSED, now, attempt=job.attempt, **died)
    data = {"reason": reason, "attempt": job.attempt, **died, **({"wait_s": wait_s} if wait_s else {})}
    retry_at = now + wait_s if wait_s else None
    return change.to(JobStatus.QUEUED, **idle, retry_at=retry_at).tell(EventType.RESTARTED, now, **data)


def _cancelled(job: Job, now: float) -> Change:
    return _ended(Change(job), StopReason.CANCELLED, now)


def _ended(
    change: Change,
    stop_reason: StopReason,
    now: float,
    *,
    model: str | None = None,
    failure: Failure | None = None,
) -> Change:
    data: dict[str, Any] = {"stop_reason": stop_reason}
    if model is not None:
        data["model"] = model
    if failure is not None:
        data["failure"] = asdict(failure)
    return change.to(
        stop_reason.status,
        stop_reason=stop_reason,
        failure=failure,
        model=model,
        finished_at=now,
        progress=1.0 if stop_reason.status is JobStatus.SUCCEEDED else change.job.progress,
        dispatcher=None,
        lease_expires_at=None,
        retry_at=None,
        checkpoints=(),
    ).tell(EventType(stop_reason.status), now, **data)
