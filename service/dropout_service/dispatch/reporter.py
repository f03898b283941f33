"""``Reporter``: the thread of an attempt that keeps its lease, reports its progress and learns what to do."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

from dropout_service.database.outages import OUTAGES, explain_outage
from dropout_service.errors import UnavailableError
from dropout_service.jobs.attempts import Command, Report
from dropout_service.jobs.job import Phase

if TYPE_CHECKING:
    from collections.abc import Callable

    from dropout_service.jobs.attempts import Attempt, Fallback, Restored
    from dropout_service.jobs.store import AttemptReports

__all__ = ["Reporter"]

BATCH_S = 0.15
"""Least time between two reports: epochs of a millisecond each do not cost a synced write each."""

logger = logging.getLogger(__name__)


class Reporter:
    """Sends what the training tells it, at most every `BATCH_S` and at least every ``heartbeat_s``.

    The training never waits for the database: when that is away, reports pile up and follow later.

    Parameters
    ----------
    store, attempt
        To whom, and in whose name.
    progress
        Asked for the fraction of the training that is done.
    on_report
        Called with each report that the job's row now holds.
    heartbeat_s, lease_s
        Longest time between two reports, and how long each keeps the lease.
    """

    def __init__(
        self,
        store: AttemptReports,
        attempt: Attempt,
        *,
        progress: Callable[[], float],
        on_report: Callable[[Report], None],
        heartbeat_s: float,
        lease_s: float,
    ) -> None:
        self.command = Command.OK
        self.doing = Phase.LOADING
        self._store = store
        self._attempt = attempt
        self._progress = progress
        self._on_report = on_report
        self._heartbeat_s = heartbeat_s
        self._lease_s = lease_s
        self._told = Phase.LOADING  # by the claim
        self._epochs: list[dict[str, Any]] = []
        self._checkpoint: str | None = None
        self._fallback: Fallback | None = None
        self._restored: Restored | None = None
        self._news = threading.Condition()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._report_until_stopped, name="reporter", daemon=True)

    def start(self) -> None:
        """Begin to report.

        Raises
        ------
        UnavailableError
            The operating system gives this process no thread.
        """
        try:
            self._thread.start()
        except RuntimeError as error:
            raise UnavailableError(f"the training process got no thread to report by ({error})") from error

    def phase(self, phase: Phase) -> None:
        """Report what the attempt does from now on."""
        with self._news:
            self.doing = phase
            self._news.notify()

    def restored(self, restored: Restored) -> None:
        """Report the checkpoint from which the attempt goes on."""
        with self._news:
            self._restored = restored
            self._news.notify()

    def epoch(self, metrics: dict[str, Any]) -> None:
        """Report an epoch that is complete."""
        with self._news:
            self._epochs.append(metrics)
            self._news.notify()

    def checkpoint(self, key: str) -> None:
        """Report a checkpoint that is on the disk."""
        with self._news:
            self._checkpoint = key
            self._news.notify()

    def has_checkpoint(self) -> bool:
        """Return whether a checkpoint has yet to be reported."""
        return self._checkpoint is not None

    def fell_back(self, fallback: Fallback) -> None:
        """Report that the latest checkpoint could not be read."""
        with self._news:
            self._fallback = fallback
            self._news.notify()

    def stop(self) -> Report:
        """Stop reporting, and return what was not reported, to go with the end of the attempt."""
        with self._news:
            self._stopped.set()
            self._news.notify()
        if self._thread.ident is not None:
            self._thread.join()
        return self._pending()

    def _report_until_stopped(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(self._has_news, self._heartbeat_s)
                report = self._pending()
            if self._stopped.is_set():
                return
            try:
                self.command = self._store.heartbeat(self._attempt, report, lease_s=self._lease_s)
            except OUTAGES as error:
                logger.warning("job %s: cannot report its progress: %s", self._attempt.job_id, explain_outage(error))
                self._stopped.wait(max(BATCH_S, self._heartbeat_s))
            else:
                self._reported(report)
                self._stopped.wait(BATCH_S)

    def _has_news(self) -> bool:
        told = self.doing is self._told
        return bool(
            self._stopped.is_set() or not told or self._epochs or self._checkpoint or self._fallback or self._restored
        )

    def _pending(self) -> Report:
        return Report(
            self._progress(), tuple(self._epochs), self._checkpoint, self._fallback, self._restored, self.doing
        )

    def _reported(self, report: Report) -> None:
        with self._news:
            self._told = report.phase
            del self._epochs[: len(report.epochs)]
            if report.restored is not None:
                self._restored = None
            if self._checkpoint == report.checkpoint:
                self._checkpoint = None
            if report.fallback is not None:
                self._fallback = None
        if self.command is not Command.FENCED:
            self._on_report(report)
