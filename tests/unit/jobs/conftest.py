from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import update

from dropout_service.database.engine import writing
from dropout_service.jobs.memory import MemoryJobStore
from dropout_service.jobs.sql import SqlJobStore
from dropout_service.jobs.tables import jobs as jobs_table
from dropout_service.training.spec import TrainingSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from dropout_service.jobs.store import JobStore


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def store(request: pytest.FixtureRequest) -> JobStore:
    if request.param == "memory":
        return MemoryJobStore()
    return SqlJobStore(request.getfixturevalue(f"{request.param}_engine"))


@pytest.fixture
def let_leases_run_out(store: JobStore) -> Callable[[], None]:
    """Return a function after which every lease and every retry lies in the past: no test waits for one."""

    def run_out() -> None:
        if isinstance(store, MemoryJobStore):
            store._clock = lambda clock=store._clock: clock() + 3600
            return
        assert isinstance(store, SqlJobStore)
        with writing(store._engine) as connection:
            columns = (jobs_table.c.lease_expires_at, jobs_table.c.retry_at)
            connection.execute(update(jobs_table).values({column: column - 3600 for column in columns}))

    return run_out


@pytest.fixture
def spec() -> TrainingSpec:
    return TrainingSpec.model_validate(
        {"name": "digits", "task": "classification", "data": {"dataset": "sha256-4f2a"}, "epochs": 10}
    )
