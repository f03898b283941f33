"""What has to be true before the service is ready for requests."""

from __future__ import annotations

from threading import Lock

__all__ = ["Readiness"]


class Readiness:
    """Named conditions, each pending until it is met or has failed; written by any thread.

    Examples
    --------
    >>> readiness = Readiness("kernels")
    >>> readiness.met("kernels")
    >>> readiness.ready
    True
    """

    def __init__(self, *names: str) -> None:
        self._lock = Lock()
        self._states = dict.fromkeys(names, "pending")

    def met(self, name: str) -> None:
        """Record that a condition holds."""
        with self._lock:
            self._states[name] = "ok"

    def failed(self, name: str, reason: str) -> None:
        """Record that a condition cannot be met, with the reason for the operator."""
        with self._lock:
            self._states[name] = f"failed: {reason}"

    @property
    def states(self) -> dict[str, str]:
        """Each condition with ``ok``, ``pending`` or ``failed: <reason>``."""
        with self._lock:
            return dict(self._states)

    @property
    def ready(self) -> bool:
        """Whether every condition holds."""
        return all(state == "ok" for state in self.states.values())
