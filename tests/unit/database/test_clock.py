from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select
from sqlalchemy.dialects import postgresql

from dropout_service.database.clock import now_s
from dropout_service.database.engine import open_database, reading

if TYPE_CHECKING:
    from pathlib import Path


def test_sqlite_tells_the_time_to_the_millisecond(tmp_path: Path):
    engine = open_database(f"sqlite:///{tmp_path}/clock.db")
    with reading(engine) as connection:
        connection.execute(select(now_s()))
        before = time.time()
        told = connection.execute(select(now_s())).scalar_one()
        after = time.time()
    engine.dispose()
    assert before - 0.002 <= told <= after + 0.002


def test_arithmetic_is_done_by_the_database(tmp_path: Path):
    engine = open_database(f"sqlite:///{tmp_path}/clock.db")
    with reading(engine) as connection:
        later, now = connection.execute(select(now_s() + 15.0, now_s())).one()
    engine.dispose()
    assert later - now == pytest.approx(15.0, abs=0.01)


def test_postgresql_reads_a_clock_that_moves_within_a_transaction():
    assert "clock_timestamp()" in str(select(now_s()).compile(dialect=postgresql.dialect()))
