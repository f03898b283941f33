from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from dropout_service.database.clock import now_s
from dropout_service.database.engine import reading

if TYPE_CHECKING:
    from sqlalchemy import Engine


def test_the_database_tells_the_time_to_the_millisecond(engine: Engine):
    with reading(engine) as connection:
        connection.execute(select(now_s()))
        before = time.time()
        told = connection.execute(select(now_s())).scalar_one()
        after = time.time()
    assert before - 0.002 <= told <= after + 0.002


def test_arithmetic_is_done_by_the_database(engine: Engine):
    with reading(engine) as connection:
        later, now = connection.execute(select(now_s() + 15.0, now_s())).one()
    assert later - now == pytest.approx(15.0, abs=0.01)


def test_the_clock_moves_on_within_a_transaction(engine: Engine):
    with reading(engine) as connection:
        first = connection.execute(select(now_s())).scalar_one()
        deadline = time.monotonic() + 10
        while connection.execute(select(now_s())).scalar_one() <= first:
            assert time.monotonic() < deadline, "the clock stands still"


def test_a_statement_with_the_time_in_it_is_compiled_once():
    statement = select(now_s() + 15.0)
    assert statement._generate_cache_key() is not None
