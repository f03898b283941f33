"""``Dispatcher``: the loop that gives queued jobs to an engine and sees to it that each attempt comes to an end."""

from __future__ import annotations

import logging
import os
import signal
import socket
import time
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError

from dropout_service.blobs import BlobStore
from dropout_service.database.changes import ChangeDetector
from dropout_service.database.engine import open_database
from dropout_service.database.ids import new_id
from dropout_service.dispatch import process
from dropout_service.dispatch.config import LOG_FORMAT
from dropout_service.dispatch.local import LocalEngine
from dropout_service.errors import NotFoundError, UnavailableError
from dropout_service.jobs.attempts import Attempt, Report, Verdict
from dropout_service.jobs.sql import SqlJobStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from dropout_service.dispatch.config import DispatchConfig
    from dropout_service.dispatch.engine import Engine, Exit
    from dropout_service.jobs.job import Job
    from dropout_service.jobs.store import JobStore

__all__ = ["Dispatcher", "main"]

_LOOK_AGAIN_S = 1.0
"""Longest time without a look at the store, whatever the change detector says; leases run out silently."""
_AWAY_S = 1.0
"""Pause after the database or the blob store did not answer."""

logger = logging.getLogger(__name__)


class Dispatcher:
    """Claims, launches, watches over and reaps attempts.

    Parameters
    ----------
    jobs, blobs
        The stores.
    engine
        Runs the attempts.
    changed
        Whether the store may have changed since the last call; asked at each turn of the loop.
    config
        Lease, graces and interval.
    """

    def __init__(
        self,
        jobs: JobStore,
        blobs: BlobStore,
        engine: Engine,
        changed: Callable[[], bool],
        config: DispatchConfig,
    ) -> None:
        self.name = f"{socket.gethostname()[:20]}:{new_id(str(os.getpid()))}"
        self._jobs = jobs
        self._blobs = blobs
        self._engine = engine
        self._changed = changed
        self._config = config
        self._unsettled: list[Exit] = []
        self._stopping = False

    def run(self, stop: process.StopRequest) -> None:
        """Dispatch until ``stop`` is made; then hand every job back to the queue with a checkpoint."""
        look_at = 0.0
        while not stop.is_made():
            freed = self._collect(self._config.poll_s)
            try:
                self._settle()
                now = time.monotonic()
                if self._changed() or freed or now >= look_at:
                    look_at = now + _LOOK_AGAIN_S
                    self._take_back()
                    self._obey_verdicts()
                    self._claim()
            except (DBAPIError, UnavailableError) as error:
                logger.warning("the store does not answer, trying again: %s", error)
                time.sleep(_AWAY_S)
        self._drain()

    def _claim(self) -> None:
        free = self._engine.free()
        if free <= 0:
            return
        for job in self._jobs.claim(free, dispatcher=self.name, lease_s=self._config.lease_s):
            logger.info("job %s: attempt %d starts", job.id, job.attempt)
            self._engine.launch(Attempt(job.id, job.attempt))

    def _take_back(self) -> None:
        for job in self._jobs.expired():
            logger.warning("job %s: attempt %d gave no sign of life; now %s", job.id, job.attempt, job.status)
            self._clean(job)

    def _obey_verdicts(self) -> None:
        for attempt, verdict in self._jobs.verdicts(self._engine.running()).items():
            if verdict in {Verdict.CANCEL, Verdict.FENCED}:
                self._engine.kill(attempt, grace_s=self._config.cancel_grace_s)

    def _collect(self, timeout_s: float) -> bool:
        exits = self._engine.exits(timeout_s)
        self._unsettled += exits
        return bool(exits)

    def _settle(self) -> None:
        """See to it that the job of each attempt that is gone does not wait for it."""
        while self._unsettled:
            self._settle_one(self._unsettled[0])
            del self._unsettled[0]

    def _settle_one(self, gone: Exit) -> None:
        attempt = gone.attempt
        try:
            job = self._jobs.get(attempt.job_id)
        except NotFoundError:
            return
        if job.status.active and job.attempt == attempt.token:
            if self._stopping:
                # It did not get to write its checkpoint in time; that is not the job's fault.
                self._jobs.release(attempt, Report(job.progress), reason="shutdown")
            else:
                job = self._jobs.crash(attempt, gone.stop_reason, gone.failure) or job
                logger.warning("job %s: %s; now %s", job.id, gone.failure.message, job.status)
        self._clean(job)

    def _clean(self, job: Job) -> None:
        if job.status.terminal:
            for key in self._blobs.list(job.blob_prefix):
                self._blobs.delete(key)

    def _drain(self) -> None:
        self._stopping = True
        for attempt in self._engine.running():
            self._engine.kill(attempt, grace_s=self._config.shutdown_grace_s)
        while self._engine.running():
            self._collect(self._config.poll_s)
        try:
            self._settle()
        except (DBAPIError, UnavailableError) as error:
            logger.warning("the store does not answer; leases will run out instead: %s", error)


def main(config: DispatchConfig, *, parent_pid: int | None = None) -> None:
    """Dispatch until SIGTERM or SIGINT. The database must have been migrated.

    Parameters
    ----------
    config
        What to do it with.
    parent_pid
        A process with which to end, in good order; ``None`` to run alone.
    """
    logging.basicConfig(level=config.log_level.upper(), format=LOG_FORMAT)
    stop = process.StopRequest(signal.SIGTERM, signal.SIGINT)
    if parent_pid is not None:
        process.die_with_parent(signal.SIGTERM, parent_pid)
    database = open_database(config.database_url)
    blobs = BlobStore(config.blob_url, scratch_dir=config.scratch_dir)
    local = LocalEngine(config)
    try:
        with ChangeDetector(database) as changes:
            dispatcher = Dispatcher(SqlJobStore(database), blobs, local, changes.changed, config)
            logger.info("dispatcher %s runs up to %d jobs at once", dispatcher.name, config.workers)
            dispatcher.run(stop)
    finally:
        local.close()
        database.dispose()
