"""Events: what happened to a job, in one strictly increasing sequence.

An event is written in the transaction that changes the job, so that the history never tells of a state that did
not hold, and never misses one that did. The metrics of an epoch live here and nowhere else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

__all__ = ["TERMINAL", "Event", "EventType", "jsonable"]


class EventType(StrEnum):
    """What happened."""

    QUEUED = "queued"
    STARTED = "started"
    RESTORED = "restored"
    FELL_BACK = "fell_back"
    EPOCH = "epoch"
    RESTARTED = "restarted"
    PAUSING = "pausing"
    PAUSED = "paused"
    RESUMED = "resumed"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


TERMINAL = frozenset({EventType.SUCCEEDED, EventType.FAILED, EventType.CANCELLED})
"""Types of event that none follows."""


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of a job's history.

    Parameters
    ----------
    job_id
        The job.
    sequence
        Place in the job's history, from 1, without gaps.
    type
        What it tells: an `EventType`, or the name of one that only a later version of the service knows.
    at
        Seconds since 1970 by the database's clock.
    data
        Facts of this type of event; JSON with finite numbers.
    """

    job_id: str
    sequence: int
    type: EventType | str
    at: float
    data: dict[str, Any]


def jsonable(value: Any) -> Any:
    """Write numbers that JSON does not have as ``"NaN"``, ``"Infinity"`` and ``"-Infinity"``, at any depth."""
    if isinstance(value, dict):
        return {key: jsonable(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value
