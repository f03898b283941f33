from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dropout_service.database.changes import detect_changes
from dropout_service.jobs.sql import SqlJobStore
from dropout_service.jobs.watch import Watcher, _Waiter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

    from dropout_service.training.spec import TrainingSpec

LONG_S = 20.0


@pytest.fixture
def store(engine: Engine) -> SqlJobStore:
    return SqlJobStore(engine)


@pytest.fixture
def watcher(engine: Engine, store: SqlJobStore) -> Iterator[Watcher]:
    wake_up = threading.Event()
    with detect_changes(engine, wake_up) as changes, Watcher(store, changes.changed, wake_up) as watcher:
        yield watcher


def test_who_waits_is_woken_by_a_change(watcher: Watcher, store: SqlJobStore, spec: TrainingSpec):
    job = store.submit(spec)

    async def wait() -> bool:
        waiting = asyncio.create_task(watcher.moved(job.id, after=1, timeout_s=LONG_S))
        await asyncio.to_thread(store.claim, 1, dispatcher="d", lease_s=60)
        return await waiting

    assert asyncio.run(wait())


def test_what_happened_before_is_not_missed(watcher: Watcher, store: SqlJobStore, spec: TrainingSpec):
    job = store.submit(spec)
    assert asyncio.run(watcher.moved(job.id, after=0, timeout_s=LONG_S))
    assert asyncio.run(watcher.moved(job.id, after=0, timeout_s=LONG_S))


def test_a_change_of_another_job_wakes_nobody(watcher: Watcher, store: SqlJobStore, spec: TrainingSpec):
    job, other = store.submit(spec), store.submit(spec)

    async def wait() -> tuple[bool, bool]:
        waiting = asyncio.create_task(watcher.moved(job.id, after=1, timeout_s=LONG_S))
        other_moved = asyncio.create_task(watcher.moved(other.id, after=1, timeout_s=LONG_S))
        await asyncio.to_thread(store.request_cancel, other.id)
        moved = await other_moved
        still_waits = not waiting.done()
        waiting.cancel()
        return moved, still_waits

    assert asyncio.run(wait()) == (True, True)


def test_waiting_for_the_end_ignores_other_events(watcher: Watcher, store: SqlJobStore, spec: TrainingSpec):
    job = store.submit(spec)

    async def wait() -> list[bool]:
        ended = asyncio.create_task(watcher.moved(job.id, after=0, timeout_s=LONG_S, until_ended=True))
        moved = await watcher.moved(job.id, after=0, timeout_s=LONG_S)
        before = ended.done()
        await asyncio.to_thread(store.request_cancel, job.id)
        return [moved, before, await ended]

    assert asyncio.run(wait()) == [True, False, True]


def test_the_time_runs_out(watcher: Watcher, store: SqlJobStore, spec: TrainingSpec):
    job = store.submit(spec)
    assert not asyncio.run(watcher.moved(job.id, after=1, timeout_s=0.01))


def test_a_job_that_is_gone_ends_the_wait(watcher: Watcher):
    assert asyncio.run(watcher.moved("job_gone", after=9, timeout_s=LONG_S))


def test_closing_wakes_everybody(watcher: Watcher, store: SqlJobStore, spec: TrainingSpec):
    job = store.submit(spec)

    async def wait() -> list[bool]:
        waiting = [asyncio.create_task(watcher.moved(job.id, after=1, timeout_s=LONG_S)) for _ in range(3)]
        await asyncio.sleep(0)
        watcher.close()
        return await asyncio.gather(*waiting)

    assert asyncio.run(wait()) == [False] * 3
    assert watcher.closed
    assert not asyncio.run(watcher.moved(job.id, after=0, timeout_s=LONG_S))


def test_who_is_woken_after_its_loop_is_gone_does_not_end_the_watch(
    watcher: Watcher, store: SqlJobStore, spec: TrainingSpec
):
    job = store.submit(spec)
    loop = asyncio.new_event_loop()
    gone = _Waiter(job.id, 0, until_ended=False, loop=loop, woken=loop.create_future())
    loop.close()
    watcher._waiters.add(gone)
    assert asyncio.run(watcher.moved(job.id, after=0, timeout_s=LONG_S))
    store.request_cancel(job.id)
    assert asyncio.run(watcher.moved(job.id, after=1, timeout_s=LONG_S))


def test_a_thousand_waiting_requests_take_one_thread(watcher: Watcher, store: SqlJobStore, spec: TrainingSpec):
    job = store.submit(spec)

    async def wait() -> tuple[int, list[bool]]:
        threads = threading.active_count()
        waiting = [asyncio.create_task(watcher.moved(job.id, after=1, timeout_s=LONG_S)) for _ in range(1_000)]
        await asyncio.sleep(0)
        grown = threading.active_count() - threads
        await asyncio.to_thread(store.request_cancel, job.id)
        return grown, await asyncio.gather(*waiting)

    grown, moved = asyncio.run(wait())
    assert grown == 0
    assert moved == [True] * 1_000


def test_a_damaged_database_does_not_end_the_watch(sqlite_engine: Engine, spec: TrainingSpec):
    store = SqlJobStore(sqlite_engine)
    job = store.submit(spec)
    path = Path(str(sqlite_engine.url.database))
    with detect_changes(sqlite_engine) as changes, Watcher(store, changes.changed) as watcher:
        sqlite_engine.dispose()
        sound = path.read_bytes()
        path.write_bytes(b"not a database" * 1000)
        assert not asyncio.run(watcher.moved(job.id, after=0, timeout_s=0.2))
        path.write_bytes(sound)  # the operator restores it
        assert asyncio.run(watcher.moved(job.id, after=0, timeout_s=LONG_S))
