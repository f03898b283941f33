"""One attempt at a job, in a process of its own: load, train, save; or stop at once and in good order."""

from __future__ import annotations

import logging
import math
import signal
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from dropout_service.blobs import BlobStore
from dropout_service.database.engine import open_database
from dropout_service.database.outages import OUTAGES, explain_outage
from dropout_service.datasets.loading import load_training_data
from dropout_service.datasets.registry import DatasetRegistry
from dropout_service.dispatch import process
from dropout_service.dispatch.checkpoints import Checkpoints
from dropout_service.dispatch.failures import explain_error
from dropout_service.dispatch.reporter import Reporter
from dropout_service.dispatch.threads import set_threads
from dropout_service.errors import InvalidInputError, NotFoundError, TrainingError, UnavailableError
from dropout_service.jobs.attempts import Command, Fallback, Outcome, Report, Restored
from dropout_service.jobs.job import Phase, StopReason
from dropout_service.jobs.lifecycle import UNAVAILABLE
from dropout_service.jobs.sql import SqlJobStore
from dropout_service.models.registry import ModelRegistry
from dropout_service.scratch import Scratch
from dropout_service.training.trainer import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable

    from dropout_service.dispatch.config import DispatchConfig
    from dropout_service.jobs.attempts import Attempt
    from dropout_service.jobs.job import Failure, Job
    from dropout_service.jobs.store import JobStore
    from dropout_service.training.data import TrainingData

__all__ = ["Parts", "main", "run_attempt"]

_BLOBS_AWAY_S = 120.0
"""How long an attempt waits for the blob store before it hands the job back, which tells the user."""
_ARTEFACT_S = 900.0
"""How long an artefact waits to be recorded before it is written anew; a sweep takes older ones for left over."""
_QUESTION_S = 0.01
"""Between two questions whether to stop: short beside all that follows from the answer."""
_TRY_AGAIN_S = 0.2
"""Short: once there is an answer again, a result should come before anybody wonders about the silence."""

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
    job = _insist(attempt, lambda: parts.jobs.get(attempt.job_id))
    _Run(job, attempt, parts, config, stop).run()


class _Left(Exception):  # noqa: N818 - not an error
    """The attempt has to stop while it waits for the blob store."""


class _Run:
    def __init__(
        self, job: Job, attempt: Attempt, parts: Parts, config: DispatchConfig, stop: process.StopRequest
    ) -> None:
        self._job = job
        self._attempt = attempt
        self._parts = parts
        self._stop = stop
        self._trainer: Trainer | None = None
        self._checkpoints = Checkpoints(parts.blobs, job)
        self._scratch = Scratch(parts.blobs.scratch_dir, config.array_bytes)
        self._checkpoint_s = config.checkpoint_s
        self._checkpoint_due = time.monotonic() + config.checkpoint_s
        self._reporter = Reporter(
            parts.jobs,
            attempt,
            progress=lambda: job.progress if self._trainer is None else self._trainer.progress,
            on_report=self._settle,
            heartbeat_s=config.heartbeat_s,
            lease_s=config.lease_s,
        )

    def run(self) -> None:
        jobs, attempt = self._parts.jobs, self._attempt
        try:
            self._reporter.start()
            trainer = self._trainer = self._load()
            self._reporter.phase(Phase.TRAINING)
            self._train(trainer)
            if trainer.stop_reason is None:
                self._leave(trainer)
                return
            self._reporter.phase(Phase.SAVING)
            self._save(trainer, StopReason(trainer.stop_reason))
        except _Left:
            self._leave(self._trainer)
        except UnavailableError as error:
            # Not the job's fault: it waits in the queue for as long as it takes.
            self._leave(self._trainer, reason=UNAVAILABLE, message=error.message)
        except (TrainingError, InvalidInputError, NotFoundError, MemoryError) as error:
            # Trying again would end the same way.
            reason, failure = self._explain(error)
            report = self._reporter.stop()
            outcome = Outcome(reason, failure=failure)
            _insist(attempt, lambda: jobs.finish(attempt, outcome, report))
        except Exception as error:
            # The boundary of the attempt: whatever it was, the job learns of it, and may be tried again.
            logger.exception("job %s: attempt %d failed", *attempt)
            reason, failure = self._explain(error)
            self._reporter.stop()
            _insist(attempt, lambda: jobs.crash(attempt, reason, failure))

    def _load(self) -> Trainer:
        process.limit_memory(self._job.options.max_memory_bytes)
        spec = self._job.training
        set_threads(spec.threads)
        dataset = _insist(self._attempt, lambda: self._parts.datasets.get(spec.data.dataset or ""))
        data = self._patiently(lambda: load_training_data(dataset, self._parts.blobs, spec, self._scratch))
        return self._resumed(data)

    def _resumed(self, data: TrainingData) -> Trainer:
        """Go on from the latest checkpoint that can be read.

        The one before is as good, and so is the start: it only takes longer to the same weights. One that stays out of
        reach counts as damaged only if the store gives another; otherwise it is the store that is away.
        """
        faults = dict[str, str]()
        away: UnavailableError | None = None
        restored: Restored | None = None
        for key in self._job.checkpoints:
            resumed = partial(self._trainer_of, data, key)
            try:
                trainer, source = self._patiently(resumed) if away is None else resumed(), "the checkpoint before"
                restored = Restored(trainer.epochs_done, trainer.step)
                break
            except (NotFoundError, InvalidInputError) as error:
                faults[key] = error.message
            except UnavailableError as error:
                faults[key] = error.message
                away = error
        else:
            if away is not None:
                raise away
            trainer, source = self._patiently(lambda: self._trainer_of(data)), "the start"
        if faults:
            logger.warning("job %s: resumes from %s: %s", self._job.id, source, faults)
            message = f"the latest checkpoint cannot be read ({next(iter(faults.values()))}); resumed from {source}"
            self._reporter.fell_back(Fallback(tuple(faults), trainer.epoch, message))
        if restored is not None:
            self._reporter.restored(restored)
        return trainer

    def _trainer_of(self, data: TrainingData, checkpoint: str | None = None) -> Trainer:
        state = None if checkpoint is None else self._parts.blobs.get(checkpoint)
        return Trainer(self._job.training, data, resume=state, scratch=self._scratch)

    def _train(self, trainer: Trainer) -> None:
        started = time.monotonic()
        for metrics in trainer.run(lambda: self._interrupted(trainer), every_s=_QUESTION_S):
            now = time.monotonic()
            self._reporter.epoch({**metrics.to_json(), "duration_s": round(now - started, 6)})
            started = now

    def _interrupted(self, trainer: Trainer) -> bool:
        """Ask after each step whether to stop; write the checkpoint that is due."""
        if self._must_stop():
            return True
        # While the last is not recorded, as long as the database is away, another would only take room.
        if time.monotonic() >= self._checkpoint_due and not self._reporter.has_checkpoint():
            key = self._write_checkpoint(trainer)
            if key is not None:
                self._reporter.checkpoint(key)
        return False

    def _write_checkpoint(self, trainer: Trainer) -> str | None:
        self._checkpoint_due = time.monotonic() + self._checkpoint_s
        try:
            return self._checkpoints.write(trainer.checkpoint())
        except UnavailableError as error:
            # A full disk must not end a training that could still succeed.
            logger.warning("job %s: no checkpoint: %s", self._job.id, error)
            return None

    def _leave(self, trainer: Trainer | None, *, reason: str | None = None, message: str = "") -> None:
        """Stop before the end: with nothing when the job is cancelled or lost, else with a checkpoint."""
        jobs, attempt = self._parts.jobs, self._attempt
        command = _insist(attempt, lambda: jobs.commands([attempt])[attempt])
        report = self._reporter.stop()
        if command is Command.CANCEL:
            _insist(attempt, lambda: jobs.finish(attempt, Outcome(StopReason.CANCELLED)))
        elif command is not Command.FENCED:
            if trainer is not None:
                report = replace(report, checkpoint=self._write_checkpoint(trainer) or report.checkpoint)
            if reason is None:
                # Without a signal it left for a pause, which may have been called off meanwhile.
                reason = "pause" if command is Command.PAUSE or not self._stop.is_made() else "shutdown"
            told = reason
            _insist(attempt, lambda: jobs.release(attempt, report, reason=told, message=message))
        logger.info("job %s: attempt %d stopped (%s)", *attempt, command)

    def _save(self, trainer: Trainer, reason: StopReason) -> None:
        jobs, models, attempt = self._parts.jobs, self._parts.models, self._attempt
        trained, report = trainer.finish(), None
        while True:
            draft = self._patiently(lambda: models.put(trained, job_id=attempt.job_id))
            if report is None:
                report = self._reporter.stop()
            finish = partial(
                jobs.finish,
                attempt,
                Outcome(reason, model=draft.id),
                report,
                in_transaction=partial(models.record, draft),
            )
            try:
                counts = _insist(attempt, finish, for_s=_ARTEFACT_S)
            except OUTAGES:
                continue  # the artefact of a result that came through after all stays, and this one will not count
            if not counts:
                models.discard(draft)
            return

    def _settle(self, report: Report) -> None:
        """Keep the books of checkpoints as the job's row now has them."""
        if report.fallback is not None:
            self._checkpoints.forget(report.fallback.checkpoints)
        if report.checkpoint is not None:
            self._checkpoints.keep(report.checkpoint)

    def _patiently(self, call: Callable[[], T]) -> T:
        """Call the blob store until it answers: a full disk or an outage is no fault of the job."""
        deadline, complaint = time.monotonic() + _BLOBS_AWAY_S, _Complaint(self._job.id)
        while True:
            try:
                return call()
            except UnavailableError as error:
                if self._must_stop():
                    raise _Left from error
                if time.monotonic() > deadline:
                    raise
                complaint.log(error.message)
                time.sleep(_TRY_AGAIN_S)

    def _must_stop(self) -> bool:
        return self._stop.is_made() or self._reporter.command is not Command.OK

    def _explain(self, error: Exception) -> tuple[StopReason, Failure]:
        epoch = None if self._trainer is None else self._trainer.epoch
        return explain_error(error, phase=self._reporter.doing, epoch=epoch)


def _insist(attempt: Attempt, call: Callable[[], T], *, for_s: float = math.inf) -> T:
    """Call the database until it answers, however long it is away: what an attempt achieved must not be lost to that.

    After ``for_s`` seconds its error is raised, to a caller who knows what else to do. Whoever wants the process to end
    meanwhile kills it; the job then goes on from its last checkpoint.
    """
    deadline, complaint = time.monotonic() + for_s, _Complaint(attempt.job_id)
    while True:
        try:
            return call()
        except OUTAGES as error:
            if time.monotonic() > deadline:
                raise
            complaint.log(explain_outage(error).message)
            time.sleep(_TRY_AGAIN_S)


class _Complaint:
    """Logs why an attempt waits: once for each reason, however often it tries."""

    def __init__(self, job_id: str) -> None:
        self._job_id = job_id
        self._logged: set[str] = set()

    def log(self, message: str) -> None:
        if message not in self._logged:
            self._logged.add(message)
            logger.warning("job %s waits: %s", self._job_id, message)
