"""``LeaseWatch``: measures the silence of attempts by a clock that does not jump, as the clock of a lease may."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dropout_service.jobs.attempts import Attempt, Lease

__all__ = ["LeaseWatch"]


@dataclass(slots=True)
class _Watched:
    heartbeat_at: float
    silent_s: float = 0.0


class LeaseWatch:
    """Decides which attempts keep their job although their lease is over by the database's clock.

    It contains the attempts to spare. An attempt is spared until this process has itself watched it for a while without
    a sign of life. So nothing that lives is taken for lost when a clock jumps, nor by a process that was itself
    suspended, or that could not read the database: only time between two looks that follow each other closely is time
    watched, and after a longer one the watch begins anew.

    Parameters
    ----------
    patience_s
        How long an attempt has to be silent under watch.
    look_s
        Longest time between two looks in which this process counts as watching.
    clock
        Seconds of a clock that never jumps.
    """

    def __init__(self, patience_s: float, *, look_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._patience_s = patience_s
        self._look_s = look_s
        self._clock = clock
        self._looked_at = clock()
        self._watched: dict[Attempt, _Watched] = {}

    def look(self, leases: Iterable[Lease]) -> None:
        """Look at the leases as they are now."""
        now = self._clock()
        passed_s = now - self._looked_at
        self._looked_at = now
        if passed_s > self._look_s:
            # What held this process up may have held up whoever lives, who gets as much time as at first.
            self.restart()
        watched: dict[Attempt, _Watched] = {}
        for lease in leases:
            before = self._watched.get(lease.attempt)
            if before is None or before.heartbeat_at != lease.heartbeat_at:
                watched[lease.attempt] = _Watched(lease.heartbeat_at)
            else:
                watched[lease.attempt] = _Watched(lease.heartbeat_at, before.silent_s + passed_s)
        self._watched = watched

    def __contains__(self, attempt: object) -> bool:
        """Whether to spare an attempt: it was not silent for long enough, or began after the last look."""
        watched = self._watched.get(cast("Attempt", attempt))
        return watched is None or watched.silent_s < self._patience_s

    def restart(self) -> None:
        """Forget all silence: the database was away, so living attempts could not report."""
        self._watched = {}
