"""The attempts at a job, as its events tell of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dropout_service.jobs.events import TERMINAL, EventType

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dropout_service.jobs.events import Event

__all__ = ["AttemptRecord", "attempts_of"]


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """How one attempt began and ended.

    Parameters
    ----------
    number
        From 1; the token of the attempt.
    started_at, ended_at
        When; it has not ended yet while the latter is ``None``.
    reason
        Why it ended: a stop reason of the job, or ``pause``, ``shutdown`` or ``unavailable``.
    message
        What happened, when it did not end in good order.
    epoch, step
        Complete epochs and optimizer steps of the checkpoint from which it went on; ``None`` from the beginning.
    """

    number: int
    started_at: float
    ended_at: float | None = None
    reason: str | None = None
    message: str | None = None
    epoch: int | None = None
    step: int | None = None


def attempts_of(events: Iterable[Event]) -> tuple[AttemptRecord, ...]:
    """Read the attempts out of a job's events, which may leave out those of epochs.

    Parameters
    ----------
    events
        In the order of their sequence.
    """
    attempts: list[AttemptRecord] = []
    for event in events:
        data = event.data
        if event.type is EventType.STARTED:
            attempts.append(AttemptRecord(data["attempt"], event.at))
            continue
        if not attempts or attempts[-1].ended_at is not None:
            continue
        if event.type is EventType.RESTORED:
            attempts[-1] = replace(attempts[-1], epoch=data["epoch"], step=data["step"])
        elif event.type is EventType.RESTARTED or event.type is EventType.PAUSED or event.type in TERMINAL:
            reason = data.get("reason") or data.get("stop_reason") or "pause"
            message = data.get("message") or (data.get("failure") or {}).get("message")
            attempts[-1] = replace(attempts[-1], ended_at=event.at, reason=reason, message=message)
    return tuple(attempts)
