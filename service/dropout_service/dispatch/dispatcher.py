"""``Dispatcher``: the loop that gives queued jobs to an engine and sees to it that each attempt comes to an end."""

from __future__ import annotations

import logging
import os
import signal
import socket
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from dropout_service.blobs import BlobStore
from dropout_service.database.changes import detect_changes
from dropout_service.database.engine import open_database
from dropout_service.database.ids import new_id
from dropout_service.database.outages import OUTAGES, explain_outage
from dropout_service.database.references import Owners
from dropout_service.datasets.tables import datasets as datasets_table
from dropout_service.dispatch import process
from dropout_service.dispatch.config import LOG_FORMAT
from dropout_service.dispatch.leases import LeaseWatch
from dropout_service.dispatch.local import LocalEngine
from dropout_service.dispatch.presence import Presence
from dropout_service.dispatch.sweep import Sweep, Sweeper
from dropout_service.errors import NotFoundError, UnavailableError
from dropout_service.jobs.attempts import HELD_UP_S, Attempt, Command, Report
from dropout_service.jobs.job import BLOB_FOLDER, Failure, Phase, StopReason
from dropout_service.jobs.lifecycle import UNAVAILABLE
from dropout_service.jobs.sql import SqlJobStore
from dropout_service.models.tables import models as models_table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dropout_service.dispatch.config import DispatchConfig
    from dropout_service.dispatch.engine import Engine, Exit
    from dropout_service.jobs.attempts import Lease
    from dropout_service.jobs.job import Job
    from dropout_service.jobs.store import JobStore

__all__ = ["Dispatcher", "main"]

_LOOK_AGAIN_S = 1.0
"""Longest time without a look at the store, whatever the change detector says; leases run out silently."""
_AWAY_S = 1.0
"""Pause after the database or the blob store did not answer."""

logger = logging.getLogger(__name__)


_DISPATCHER_GONE = Failure(
    code="lost",
    phase=None,
    epoch=None,
    message="the dispatcher that ran it went away",
    hint="It was started again from its last checkpoint each time; look at the log of the service.",
)


def new_name() -> str:
    """Draw a name for a dispatcher."""
    return f"{socket.gethostname()[:20]}:{new_id(str(os.getpid()))}"


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
    presence
        By which it knows that another dispatcher is gone; ``None`` to learn that from leases alone.
    """

    def __init__(
        self,
        jobs: JobStore,
        blobs: BlobStore,
        engine: Engine,
        changed: Callable[[], bool],
        config: DispatchConfig,
        *,
        presence: Presence | None = None,
    ) -> None:
        self.name = new_name() if presence is None else presence.name
        self._jobs = jobs
        self._blobs = blobs
        self._engine = engine
        self._changed = changed
        self._config = config
        self._presence = presence
        self._watch = LeaseWatch(config.lease_s, look_s=2 * _LOOK_AGAIN_S)
        self._tidied = False
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
            except OUTAGES as error:
                logger.warning("%s", explain_outage(error))
                self._watch.restart()
                time.sleep(_AWAY_S)
            except Exception:  # the loop's boundary: what one job brought about must not end the others
                logger.exception("this turn of the dispatcher was broken off; the next begins in a moment")
                time.sleep(_AWAY_S)
        self._drain(stop)

    def _claim(self) -> None:
        free = self._engine.free()
        if free <= 0:
            return
        for job in self._jobs.claim(free, dispatcher=self.name, lease_s=self._config.lease_s):
            logger.info("job %s: attempt %d starts", job.id, job.attempt)
            self._engine.launch(Attempt(job.id, job.attempt))

    def _take_back(self) -> None:
        leases = self._jobs.leases()
        self._watch.look(leases)
        began = time.monotonic()
        for job in self._jobs.expired(exclude=self._watch):
            logger.warning("job %s: attempt %d gave no sign of life; now %s", job.id, job.attempt, job.status)
            self._clean(job)
        if time.monotonic() - began > HELD_UP_S:
            self._watch.restart()
        if self._presence is not None:
            self._inherit(leases, self._presence)
        self._launch_forgotten(leases)
        if not self._tidied:
            self._tidy()
            self._tidied = True

    def _inherit(self, leases: Sequence[Lease], presence: Presence) -> None:
        """Take over at once what belonged to dispatchers of which no process is left."""
        gone = {name for name in {lease.dispatcher for lease in leases} if presence.is_gone(name)}
        for lease in leases:
            job = (
                self._jobs.crash(lease.attempt, StopReason.LOST, _DISPATCHER_GONE) if lease.dispatcher in gone else None
            )
            if job is not None:
                logger.warning("job %s: attempt %d went with its dispatcher; now %s", job.id, job.attempt, job.status)
                self._clean(job)
        if not self._tidied:
            presence.sweep({lease.dispatcher for lease in leases} - gone)

    def _launch_forgotten(self, leases: Sequence[Lease]) -> None:
        """Launch what is held in this name and does not run: the answer to its claim was lost."""
        ours = {lease.attempt for lease in leases if lease.dispatcher == self.name}
        for attempt in sorted(ours.difference(self._engine.running())):
            logger.info("job %s: attempt %d starts, late", *attempt)
            self._engine.launch(attempt)

    def _obey_verdicts(self) -> None:
        for attempt, command in self._jobs.commands(self._engine.running()).items():
            if command in {Command.CANCEL, Command.FENCED}:
                self._engine.kill(attempt, grace_s=self._config.cancel_grace_s)

    def _collect(self, timeout_s: float) -> bool:
        exits = self._engine.exits(timeout_s)
        self._unsettled += exits
        return bool(exits)

    def _settle(self) -> None:
        """See to it that the job of each attempt that is gone does not wait for it."""
        while self._unsettled:
            try:
                self._settle_one(self._unsettled[0])
            except OUTAGES:
                raise
            except Exception:
                # Its lease runs out, and then it is taken back as any other; the others need not wait for that.
                logger.exception("job %s: the end of its attempt cannot be recorded", self._unsettled[0].attempt.job_id)
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
                self._jobs.release(attempt, _as_it_was(job), reason="shutdown")
            elif not gone.began:
                told = gone.failure.message
                self._jobs.release(attempt, _as_it_was(job), reason=UNAVAILABLE, message=told)
                logger.warning("job %s: %s. %s", job.id, told, gone.failure.hint)
            else:
                job = self._jobs.crash(attempt, gone.stop_reason, gone.failure) or job
                logger.warning("job %s: %s; now %s", job.id, gone.failure.message, job.status)
        self._clean(job)

    def _clean(self, job: Job) -> None:
        """Remove the checkpoints of a job that has ended."""
        if job.status.terminal:
            self._blobs.discard_folder(job.blob_prefix)

    def _tidy(self) -> None:
        """Remove the checkpoints that a dispatcher would have removed, had it not been killed."""
        try:
            found = self._blobs.list(BLOB_FOLDER)
        except UnavailableError as error:
            logger.warning("checkpoints of ended jobs may stay: %s", error)
            return
        for job_id in sorted({key.split("/")[1] for key in found}):
            try:
                self._clean(self._jobs.get(job_id))
            except NotFoundError:
                self._blobs.discard_folder(f"{BLOB_FOLDER}/{job_id}")

    def _drain(self, stop: process.StopRequest) -> None:
        self._stopping = True
        deadline = time.monotonic() + self._config.shutdown_grace_s
        while running := self._engine.running():
            grace_s = 0.0 if stop.is_urgent() else deadline - time.monotonic()
            for attempt in running:
                self._engine.kill(attempt, grace_s=grace_s)
            self._collect(self._config.poll_s)
        try:
            self._settle()
        except OUTAGES as error:
            logger.warning("%s; leases will run out instead", explain_outage(error))


def _as_it_was(job: Job) -> Report:
    """Report for an attempt that could not, with nothing that the store does not know."""
    return Report(job.progress, phase=job.phase or Phase.LOADING)


def main(config: DispatchConfig, *, parent_pid: int | None = None) -> None:
    """Dispatch until SIGTERM or SIGINT; a second one means at once. The database must have been migrated.

    Parameters
    ----------
    config
        What to do it with.
    parent_pid
        A process with which to end, in good order; ``None`` to run alone.
    """
    logging.basicConfig(level=config.log_level.upper(), format=LOG_FORMAT)
    counted = {signal.SIGTERM, signal.SIGINT} if parent_pid is None else {signal.SIGINT}
    stop = process.StopRequest(signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, counted=counted)
    if parent_pid is not None:
        process.die_with_parent(signal.SIGTERM, parent_pid)
    with ExitStack() as stack:
        database = open_database(config.database_url)
        stack.callback(database.dispose)
        blobs = BlobStore(config.blob_url, scratch_dir=config.scratch_dir)
        presence = _presence(config, stack)
        local = LocalEngine(config, inherited=() if presence is None else (presence.descriptor,))
        stack.callback(local.close)
        changes = stack.enter_context(detect_changes(database))
        jobs = SqlJobStore(database)
        # The registries themselves would bring NumPy into this process.
        datasets, models = Owners(database, datasets_table.c.blob_key), Owners(database, models_table.c.blob_key)
        age_s = max(config.sweep_s, 2 * config.lease_s)
        sweep = Sweep(blobs, jobs, datasets, models, age_s=age_s)
        stack.enter_context(Sweeper(sweep, every_s=config.sweep_s))
        dispatcher = Dispatcher(jobs, blobs, local, changes.changed, config, presence=presence)
        logger.info("dispatcher %s runs up to %d jobs at once", dispatcher.name, config.workers)
        dispatcher.run(stop)


def _presence(config: DispatchConfig, stack: ExitStack) -> Presence | None:
    if config.presence_dir is None:
        return None
    try:
        return stack.enter_context(Presence(Path(config.presence_dir), new_name()))
    except OSError as error:
        logger.warning("others will wait for the leases of this dispatcher should it die: %s", error)
        return None
