from __future__ import annotations

import sqlite3
import time
from functools import partial
from typing import Any

import pytest
import waiting
from sqlalchemy.exc import OperationalError

from dropout_service.dispatch.reporter import Reporter
from dropout_service.jobs.attempts import Attempt, Command, Fallback, Report
from dropout_service.jobs.job import Phase
from dropout_service.jobs.memory import MemoryJobStore
from dropout_service.training.spec import TrainingSpec

wait_for = partial(waiting.wait_for, patience_s=10)
SPEC = TrainingSpec.model_validate({"task": "regression", "data": {"dataset": "sha256-4f2a"}})


class CountingStore(MemoryJobStore):
    """A store that counts signs of life, and does not answer some."""

    def __init__(self) -> None:
        super().__init__()
        self.heartbeats = 0
        self.away = 0
        self.unanswered: list[float] = []

    def heartbeat(self, attempt: Attempt, report: Report, *, lease_s: float) -> Command:
        self.heartbeats += 1
        if self.away > 0:
            self.away -= 1
            self.unanswered.append(time.monotonic())
            raise OperationalError("UPDATE", {}, sqlite3.OperationalError("database is locked"))
        return super().heartbeat(attempt, report, lease_s=lease_s)


@pytest.fixture
def store() -> CountingStore:
    return CountingStore()


@pytest.fixture
def attempt(store: CountingStore) -> Attempt:
    store.submit(SPEC)
    (job,) = store.claim(1, dispatcher="d", lease_s=60)
    return Attempt(job.id, job.attempt)


def reporter(store: CountingStore, attempt: Attempt, **changes: Any) -> Reporter:
    defaults = {"progress": lambda: 0.5, "on_report": lambda _report: None, "heartbeat_s": 60.0, "lease_s": 60.0}
    return Reporter(store, attempt, **{**defaults, **changes})


def test_many_short_epochs_take_few_writes_and_none_is_lost(store: CountingStore, attempt: Attempt):
    reports = reporter(store, attempt)
    reports.start()
    for number in range(1, 501):
        reports.epoch({"epoch": number})
        if number == 1:
            wait_for(lambda: store.metrics(attempt.job_id), "an epoch")  # the first is told at once
    rest = reports.stop()
    recorded = store.metrics(attempt.job_id, limit=1000)
    assert [entry["epoch"] for entry in [*recorded, *rest.epochs]] == list(range(1, 501))
    assert store.heartbeats <= 10


def test_what_the_attempt_does_is_told_at_once(store: CountingStore, attempt: Attempt):
    reports = reporter(store, attempt)
    reports.start()
    for phase in (Phase.TRAINING, Phase.SAVING):
        reports.phase(phase)
        wait_for(lambda phase=phase: store.get(attempt.job_id).phase is phase, phase)
    assert reports.stop() == Report(0.5, phase=Phase.SAVING)


def test_without_news_there_is_a_sign_of_life(store: CountingStore, attempt: Attempt):
    reports = reporter(store, attempt, heartbeat_s=0.01)
    reports.start()
    wait_for(lambda: store.heartbeats >= 2, "signs of life")
    reports.stop()
    assert store.get(attempt.job_id).progress == 0.5


def test_what_the_store_did_not_take_is_told_later(store: CountingStore, attempt: Attempt):
    store.away = 2
    kept: list[Report] = []
    reports = reporter(store, attempt, on_report=kept.append, heartbeat_s=0.01)
    reports.start()
    reports.epoch({"epoch": 1})
    reports.checkpoint("c1")
    wait_for(lambda: store.get(attempt.job_id).checkpoints, "the checkpoint")
    assert reports.stop() == Report(0.5, phase=Phase.LOADING)
    assert [entry["epoch"] for entry in store.metrics(attempt.job_id)] == [1]
    assert [report.checkpoint for report in kept if report.checkpoint] == ["c1"]


def test_a_store_that_is_away_is_asked_no_more_often_than_there_are_signs_of_life(
    store: CountingStore, attempt: Attempt
):
    store.away = 3
    reports = reporter(store, attempt, heartbeat_s=0.4)
    reports.start()
    reports.checkpoint("c1")
    assert reports.has_checkpoint()
    wait_for(lambda: not reports.has_checkpoint(), "the checkpoint")
    reports.stop()
    first, second, third = store.unanswered
    assert min(second - first, third - second) >= 0.4


def test_the_verdict_is_passed_on(store: CountingStore, attempt: Attempt):
    reports = reporter(store, attempt, heartbeat_s=0.01)
    reports.start()
    assert reports.command is Command.OK
    store.request_cancel(attempt.job_id)
    wait_for(lambda: reports.command is Command.CANCEL, "the request to cancel")
    reports.stop()


def test_a_checkpoint_of_a_fenced_attempt_is_not_kept(store: CountingStore, attempt: Attempt):
    kept: list[Report] = []
    stale = Attempt(attempt.job_id, attempt.token + 1)
    reports = reporter(store, stale, on_report=kept.append)
    reports.start()
    reports.checkpoint("c1")
    wait_for(lambda: reports.command is Command.FENCED, "the refusal")
    reports.stop()
    assert kept == []
    assert store.get(attempt.job_id).checkpoints == ()


def test_a_fallback_is_told_once_and_first(store: CountingStore, attempt: Attempt):
    store.heartbeat(attempt, Report(0.1, checkpoint="c1"), lease_s=60)
    kept: list[Report] = []
    reports = reporter(store, attempt, on_report=kept.append, heartbeat_s=0.01)
    reports.fell_back(Fallback(("c1",), 1, "it is damaged"))
    reports.epoch({"epoch": 1})
    reports.start()
    wait_for(lambda: store.metrics(attempt.job_id), "an epoch")
    beats = store.heartbeats
    wait_for(lambda: store.heartbeats > beats, "another sign of life")
    reports.stop()
    assert [event.type for event in store.events(attempt.job_id)] == ["queued", "started", "fell_back", "epoch"]
    assert store.get(attempt.job_id).checkpoints == ()
    assert [report.fallback is not None for report in kept][:2] == [True, False]
