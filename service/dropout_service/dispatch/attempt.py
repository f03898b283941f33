"""One attempt at a job, in a process of its own: load, train, save; or stop at once and in good order."""

from __future__ import annotations

import logging
import signal
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy.exc import DBAPIError

from dropout_service.blobs import BlobStore
from dropout_service.database.engine import open_database
from dropout_service.datasets.loading import load_training_data
from dropout_service.datasets.registry import DatasetRegistry
from dropout_service.dispatch import process
from dropout_service.dispatch.checkpoints import Checkpoints
from dropout_service.dispatch.failures import explain_error
from dropout_service.dispatch.reporter import Reporter
from dropout_service.dispatch.threads import set_threads
from dropout_service.errors import InvalidInputError, NotFoundError, TrainingError, UnavailableError
from dropout_service.jobs.attempts import Outcome, Verdict
from dropout_service.jobs.job import StopReason
from dropout_service.jobs.sql import SqlJobStore
from dropout_service.models.registry import ModelRegistry
from dropout_service.training.trainer import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable

    from dropout_service.dispatch.config import DispatchConfig
    from dropout_service.jobs.attempts import Attempt
    from dropout_service.jobs.job import Failure, Job
    from dropout_service.jobs.store import JobStore
    from dropout_service.training.data import TrainingData

__all__ = ["Parts", "main", "run_attempt"]

_DATABASE_AWAY_S = 120.0
"""How long a finished attempt tries to write its result before it gives up."""

T = TypeVar("T")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Parts:
    """What an attempt works with."""

    jobs: JobStore
    blobs: BlobStore
    datasets: DatasetRegistry
    models: ModelRegistry


def main(attempt: Attempt, config: DispatchConfig) -> int:
    """Run an attempt in a process that was made for it; return the exit code."""
    stop = process.StopRequest(signal.SIGTERM)
    process.limit_memory(config.memory_limit_bytes)
    engine = open_database(config.database_url)
    try:
        blobs = BlobStore(config.blob_url, scratch_dir=config.scratch_dir)
        parts = Parts(SqlJobStore(engine), blobs, DatasetRegistry(engine, blobs), ModelRegistry(engine, blobs))
        run_attempt(attempt, parts, config, stop)
    finally:
        engine.dispose()
    return 0


def run_attempt(attempt: Attempt, parts: Parts, config: DispatchConfig, stop: process.StopRequest) -> None:
    """Run an attempt to its end, which is in the store when this returns.

    Parameters
    ----------
    attempt
        The job and the token.
    parts
        What it works with.
    config
        Heartbeat, lease and checkpoint intervals.
    stop
        Made when the attempt has to write a checkpoint and hand the job back.
    """
    _Run(parts.jobs.get(attempt.job_id), attempt, parts, config, stop).run()


class _Run:
    def __init__(
        self, job: Job, attempt: Attempt, parts: Parts, config: DispatchConfig, stop: process.StopRequest
    ) -> None:
        self._job = job
        self._attempt = attempt
        self._parts = parts
        self._stop = stop
        self._phase = "loading"
        self._trainer: Trainer | None = None
        self._checkpoints = Checkpoints(parts.blobs, job)
        self._checkpoint_s = config.checkpoint_s
        self._checkpoint_due = time.monotonic() + config.checkpoint_s
        self._reporter = Reporter(
            parts.jobs,
            attempt,
            progress=lambda: job.progress if self._trainer is None else self._trainer.progress,
            on_checkpoint=self._checkpoints.keep,
            heartbeat_s=config.heartbeat_s,
            lease_s=config.lease_s,
        )

    def run(self) -> None:
        jobs, attempt = self._parts.jobs, self._attempt
        self._reporter.start()
        try:
            trainer = self._trainer = self._load()
            self._phase = "training"
            self._train(trainer)
            if trainer.stop_reason is None:
                self._leave(trainer)
                return
            self._phase = "saving"
            self._save(trainer, StopReason(trainer.stop_reason))
        except (TrainingError, InvalidInputError, NotFoundError, MemoryError) as error:
            # Trying again would end the same way.
            reason, failure = self._explain(error)
            report = self._reporter.stop()
            outcome = Outcome(reason, failure=failure)
            _insist(lambda: jobs.finish(attempt, outcome, report))
        except Exception as error:
            # The boundary of the attempt: whatever it was, the job learns of it, and may be tried again.
            logger.exception("job %s: attempt %d failed", *attempt)
            reason, failure = self._explain(error)
            self._reporter.stop()
            _insist(lambda: jobs.crash(attempt, reason, failure))

    def _load(self) -> Trainer:
        spec = self._job.spec
        set_threads(spec.threads)
        dataset = self._parts.datasets.get(spec.data.dataset or "")
        data = load_training_data(dataset, self._parts.blobs, spec)
        return self._resumed(data) or Trainer(spec, data)

    def _resumed(self, data: TrainingData) -> Trainer | None:
        for key in self._job.checkpoints:
            try:
                return Trainer(self._job.spec, data, resume=self._parts.blobs.get(key))
            except (NotFoundError, InvalidInputError) as error:
                # The one before is as good, and so is the start: it only takes longer to the same weights.
                logger.warning("job %s: cannot resume from %s: %s", self._job.id, key, error)
        return None

    def _train(self, trainer: Trainer) -> None:
        started = time.monotonic()
        for metrics in trainer.run(lambda: self._interrupted(trainer)):
            now = time.monotonic()
            self._reporter.epoch({**metrics.to_json(), "duration_s": round(now - started, 6)})
            started = now

    def _interrupted(self, trainer: Trainer) -> bool:
        """Ask after each step whether to stop; write the checkpoint that is due."""
        if self._stop.is_made() or self._reporter.verdict is not Verdict.OK:
            return True
        if time.monotonic() >= self._checkpoint_due:
            self._reporter.checkpoint(self._write_checkpoint(trainer))
        return False

    def _write_checkpoint(self, trainer: Trainer) -> str | None:
        self._checkpoint_due = time.monotonic() + self._checkpoint_s
        try:
            return self._checkpoints.write(trainer.checkpoint())
        except UnavailableError as error:
            # A full disk must not end a training that could still succeed.
            logger.warning("job %s: no checkpoint: %s", self._job.id, error)
            return None

    def _leave(self, trainer: Trainer) -> None:
        """Stop before the end: with nothing when the job is cancelled or lost, else with a checkpoint."""
        jobs, attempt = self._parts.jobs, self._attempt
        verdict = _insist(lambda: jobs.verdicts([attempt])[attempt])
        report = self._reporter.stop()
        if verdict is Verdict.CANCEL:
            _insist(lambda: jobs.finish(attempt, Outcome(StopReason.CANCELLED)))
        elif verdict is not Verdict.FENCED:
            with_checkpoint = replace(report, checkpoint=self._write_checkpoint(trainer))
            # Without a signal it left for a pause, which may have been called off meanwhile.
            reason = "pause" if verdict is Verdict.PAUSE or not self._stop.is_made() else "shutdown"
            _insist(lambda: jobs.release(attempt, with_checkpoint, reason=reason))
        logger.info("job %s: attempt %d stopped at epoch %d (%s)", *attempt, trainer.epoch, verdict)

    def _save(self, trainer: Trainer, reason: StopReason) -> None:
        jobs, models, attempt = self._parts.jobs, self._parts.models, self._attempt
        draft = models.put(trainer.finish(), job_id=attempt.job_id)
        report = self._reporter.stop()
        outcome = Outcome(reason, model=draft.id)
        counts = _insist(
            lambda: jobs.finish(attempt, outcome, report, together=lambda connection: models.record(draft, connection))
        )
        if not counts:
            models.discard(draft)

    def _explain(self, error: Exception) -> tuple[StopReason, Failure]:
        epoch = None if self._trainer is None else self._trainer.epoch
        return explain_error(error, phase=self._phase, epoch=epoch)


def _insist(call: Callable[[], T]) -> T:
    """Call the store until it answers: what an attempt achieved must not be lost to a short absence."""
    deadline = time.monotonic() + _DATABASE_AWAY_S
    while True:
        try:
            return call()
        except DBAPIError as error:
            if time.monotonic() > deadline:
                raise
            logger.warning("cannot write the result yet: %s", error.orig)
            time.sleep(1.0)
