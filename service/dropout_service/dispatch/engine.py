"""``Engine``: places and runs attempts. What runs, and whose result counts, is the store's business."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dropout_service.jobs.attempts import Attempt
    from dropout_service.jobs.job import Failure, StopReason

__all__ = ["Engine", "Exit"]


@dataclass(frozen=True, slots=True)
class Exit:
    """An attempt that is gone.

    Parameters
    ----------
    attempt
        The attempt.
    stop_reason, failure
        Why, should it turn out that it left no result in the store.
    began
        Whether it ran at all. If not, the machine had no room for it, and that is not the job's fault.
    """

    attempt: Attempt
    stop_reason: StopReason
    failure: Failure
    began: bool = True


class Engine(Protocol):
    """Runs attempts, each apart from the others: one that crashes takes nothing with it."""

    def free(self) -> int:
        """Count the attempts that could be launched now."""
        ...

    def launch(self, attempt: Attempt) -> None:
        """Start an attempt; it reads everything else from the store."""
        ...

    def kill(self, attempt: Attempt, *, grace_s: float) -> None:
        """Ask an attempt to stop, and stop it for good when it is still there after the grace; the shortest counts."""
        ...

    def running(self) -> Iterable[Attempt]:
        """Name the attempts that were launched and have not been reported as gone."""
        ...

    def exits(self, timeout_s: float) -> list[Exit]:
        """Report the attempts that are gone since the last call; wait up to ``timeout_s`` for the first."""
        ...

    def close(self) -> None:
        """Stop whatever still runs, for good, and let go of everything."""
        ...
