"""Rows of the database as jobs and events, and back.

Read so that a row of a later version, or a damaged one, can be shown, with the reason why it is left alone.
"""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, cast

from dropout_service.jobs.events import Event, EventType
from dropout_service.jobs.job import Failure, Job, JobStatus, Phase, RunOptions, StopReason
from dropout_service.training.stored import read_spec, version_of, write_spec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import RowMapping

    from dropout_service.training.spec import TrainingSpec

__all__ = ["STORED", "event_of", "event_values", "job_of", "new_values", "status_of", "values_of"]

_OPTIONS = [field.name for field in fields(RunOptions)]
STORED = [field.name for field in fields(Job) if field.name not in {"metrics", "options"}]
"""Fields of a job with a column that changes; the metrics are those of the event ``metrics_sequence``."""

_DAMAGED = Failure(
    code="unreadable",
    phase=Phase.LOADING,
    epoch=None,
    message="the stored state of the job is none that this version of the service knows",
    hint="Run the version of the service that wrote it, or delete the job and submit it again.",
)


def job_of(row: RowMapping) -> Job:
    """Read a job, with the metrics of its latest epoch."""
    values = {name: row[name] for name in STORED}
    status, reason = status_of(values["status"]), cast("str | None", values["stop_reason"])
    failure = _failure(values["failure"]) if status == values["status"] else _DAMAGED
    values |= {
        "spec": read_spec(values["spec"]),
        "status": status,
        "stop_reason": None if reason is None else _STOP_REASONS.get(reason, StopReason.ERROR),
        "failure": failure,
        "phase": _PHASES.get(values["phase"] or ""),
        "options": RunOptions(**{name: row[name] for name in _OPTIONS}),
        "checkpoints": tuple(values["checkpoints"] or ()),
        "metrics": row["metrics"],
    }
    return Job(**values)


def status_of(text: str) -> JobStatus:
    """Read a status; one that is not known counts as failed, so that the job is held by nobody and can be deleted."""
    return _STATUSES.get(text, JobStatus.FAILED)


def event_of(row: RowMapping) -> Event:
    """Read an event; one of a type that is not known keeps the name of it."""
    name = cast("str", row["type"])
    return Event(row["job_id"], row["sequence"], _EVENT_TYPES.get(name, name), row["at"], row["data"] or {})


def new_values(job: Job, spec: TrainingSpec) -> dict[str, Any]:
    """Give the columns of a job that is accepted."""
    stored = write_spec(spec)
    values = values_of(job, [name for name in STORED if name != "spec"])
    return {
        **values,
        **asdict(job.options),
        "spec": stored,
        "spec_version": version_of(stored),
        "dataset": spec.data.dataset,
    }


def values_of(job: Job, names: Iterable[str]) -> dict[str, Any]:
    """Give the columns of these fields."""
    values = {name: getattr(job, name) for name in names}
    if "failure" in values and job.failure is not None:
        values["failure"] = asdict(job.failure)
    if "checkpoints" in values:
        values["checkpoints"] = list(job.checkpoints)
    return values


def event_values(event: Event) -> dict[str, Any]:
    """Give the columns of an event."""
    return {**asdict(event), "epoch": event.data["epoch"] if event.type is EventType.EPOCH else None}


def _failure(stored: Mapping[str, Any] | None) -> Failure | None:
    if stored is None:
        return None
    told: dict[str, Any] = {name: stored[name] for name in _FAILURE_FIELDS if name in stored}
    told["phase"] = _PHASES.get(stored.get("phase", ""))
    return Failure(**told)


_STATUSES = {status.value: status for status in JobStatus}
_STOP_REASONS = {reason.value: reason for reason in StopReason}
_PHASES = {phase.value: phase for phase in Phase}
_EVENT_TYPES = {kind.value: kind for kind in EventType}
_FAILURE_FIELDS = [field.name for field in fields(Failure)]
