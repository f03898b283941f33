"""What only the SQL store has: shared transactions, concurrency, durability."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event, insert, select

from dropout_service.database.engine import open_database, reading
from dropout_service.database.idempotency import idempotency_keys
from dropout_service.jobs.attempts import Attempt, Outcome
from dropout_service.jobs.job import StopReason
from dropout_service.jobs.memory import MemoryJobStore
from dropout_service.jobs.sql import SqlJobStore

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from dropout_service.jobs.job import Job
    from dropout_service.training.spec import TrainingSpec


def keep(connection: Connection, key: str) -> None:
    connection.execute(insert(idempotency_keys).values(operation="op", key=key, body_hash="", expires_at=0))


def kept(engine: Engine) -> list[str]:
    with reading(engine) as connection:
        return list(connection.execute(select(idempotency_keys.c.key)).scalars())


def test_what_is_written_together_is_kept_with_the_job(engine: Engine, spec: TrainingSpec):
    def fail(_connection: Connection, _job: Job) -> None:
        raise RuntimeError

    store = SqlJobStore(engine)
    with pytest.raises(RuntimeError):
        store.submit(spec, in_transaction=fail)
    assert store.list(limit=1) == []
    job = store.submit(spec, in_transaction=lambda connection, job: keep(connection, job.id))
    assert kept(engine) == [job.id]


@pytest.mark.parametrize("cancelled", [False, True])
def test_a_model_is_kept_only_with_the_result_that_counts(engine: Engine, spec: TrainingSpec, *, cancelled: bool):
    store = SqlJobStore(engine)
    job = store.submit(spec)
    store.claim(1, dispatcher="d", lease_s=60)
    if cancelled:
        store.request_cancel(job.id)
    outcome = Outcome(StopReason.COMPLETED, model="model_1")
    stale = store.finish(Attempt(job.id, 9), outcome, in_transaction=lambda connection: keep(connection, "stale"))
    counts = store.finish(Attempt(job.id, 1), outcome, in_transaction=lambda connection: keep(connection, "mine"))
    assert (stale, counts) == (False, not cancelled)
    assert kept(engine) == ([] if cancelled else ["mine"])


def test_concurrent_dispatchers_never_claim_the_same_job(engine: Engine, spec: TrainingSpec):
    store = SqlJobStore(engine)
    submitted = {store.submit(spec).id for _ in range(30)}
    claimed: list[str] = []

    def work() -> None:
        while jobs := store.claim(2, dispatcher="d", lease_s=60):
            claimed.extend(job.id for job in jobs)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(claimed) == 30
    assert set(claimed) == submitted


def test_a_claim_reads_the_queue_in_the_order_of_its_index(sqlite_engine: Engine, spec: TrainingSpec):
    statements: list[tuple[str, Any]] = []
    event.listen(
        sqlite_engine,
        "before_cursor_execute",
        lambda _c, _cursor, sql, parameters, *_: statements.append((sql, parameters)),
    )
    store = SqlJobStore(sqlite_engine)
    store.submit(spec)
    statements.clear()
    store.claim(1, dispatcher="d", lease_s=60)
    (claim,) = [(sql, parameters) for sql, parameters in statements if "ORDER BY" in sql and "priority DESC" in sql]
    with reading(sqlite_engine) as connection:
        plan = str(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {claim[0]}", claim[1]).all())
    assert "USING INDEX ix_jobs_status_priority_id" in plan or "USING COVERING INDEX ix_jobs_status_priority_id" in plan
    assert "TEMP B-TREE" not in plan, "the queue is not sorted for each claim"


def test_a_job_is_read_back_by_another_process_as_it_was(engine: Engine, spec: TrainingSpec):
    job = SqlJobStore(engine).submit(spec)
    other = open_database(engine.url.render_as_string(hide_password=False))
    assert SqlJobStore(other).get(job.id) == job
    other.dispose()


def test_the_store_in_memory_refuses_to_share_a_transaction(spec: TrainingSpec):
    with pytest.raises(TypeError, match="no transaction"):
        MemoryJobStore().submit(spec, in_transaction=lambda _connection, _job: None)  # type: ignore[arg-type] - that is what is tested
