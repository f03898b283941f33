from __future__ import annotations

import sqlite3
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, cast

import pytest
import waiting
from postgres import run_postgres
from sqlalchemy import text

from dropout_service.database import notifications
from dropout_service.database.changes import _DataVersion, detect_changes
from dropout_service.database.engine import open_database, reading, writing
from dropout_service.database.notifications import notify

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postgres import PostgresServer
    from sqlalchemy import Engine

    from dropout_service.database.changes import ChangeDetector

BOUND_S = 30.0
wait_for = partial(waiting.wait_for, patience_s=BOUND_S)
LISTENERS = "FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'"


@pytest.fixture
def engine(empty_url: str) -> Iterator[Engine]:
    engine = open_database(empty_url)
    with writing(engine) as connection:
        connection.execute(text("CREATE TABLE t (x int)"))
    yield engine
    engine.dispose()


@pytest.fixture(autouse=True)
def nobody_looks_by_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test notices was told, and not found when it was time to look again."""
    monkeypatch.setattr(notifications, "_LOOK_AGAIN_S", 3600.0)


def insert(engine: Engine) -> None:
    with writing(engine) as connection:
        connection.execute(text("INSERT INTO t VALUES (1)"))
        notify(connection)


def quiet(changes: ChangeDetector) -> bool:
    return not changes.changed()


def test_a_commit_is_noticed_once_and_a_read_or_a_rollback_is_not(engine: Engine):
    with detect_changes(engine) as changes:
        assert changes.changed()
        wait_for(lambda: quiet(changes), "no change")  # it may take a moment to listen
        with writing(engine) as connection:
            connection.execute(text("INSERT INTO t VALUES (1)"))
            notify(connection)
            assert not changes.changed()
        wait_for(changes.changed, "a change")
        assert not changes.changed()
        with reading(engine) as connection:
            connection.execute(text("SELECT * FROM t"))
        with engine.connect() as connection:
            connection.execute(text("INSERT INTO t VALUES (1)"))
            notify(connection)
            connection.rollback()
        # Another change is heard after whatever the rollback would have told.
        assert not changes.changed()
        insert(engine)
        wait_for(changes.changed, "a change")
        assert not changes.changed()


def test_an_sqlite_file_that_cannot_be_read_now_may_have_changed(sqlite_engine: Engine):
    with detect_changes(sqlite_engine) as changes:
        assert isinstance(changes, _DataVersion)
        assert changes.changed()
        driver = cast("sqlite3.Connection", changes._connection.dbapi_connection)
        driver.set_progress_handler(lambda: 1, 1)  # every statement fails, as it does on a disk that does
        with pytest.raises(sqlite3.OperationalError, match="interrupted"):
            driver.execute("PRAGMA data_version")
        assert [changes.changed() for _ in range(2)] == [True] * 2
        driver.set_progress_handler(None, 0)
        assert not changes.changed()


def test_postgresql_tells_without_being_asked(postgresql_engine: Engine):
    wake_up = threading.Event()
    with detect_changes(postgresql_engine, wake_up) as changes:
        wait_for(lambda: quiet(changes), "no change")
        wake_up.clear()
        with writing(postgresql_engine) as connection:
            notify(connection)
        assert wake_up.wait(BOUND_S)
        assert changes.changed()


def test_a_listener_whose_connection_is_ended_listens_again_and_misses_nothing(postgresql_engine: Engine):
    wake_up = threading.Event()
    with detect_changes(postgresql_engine, wake_up) as changes:
        wait_for(lambda: quiet(changes), "no change")
        wake_up.clear()
        with writing(postgresql_engine) as connection:
            assert connection.execute(text(f"SELECT pg_terminate_backend(pid) {LISTENERS}")).scalars().all() == [True]
        assert wake_up.wait(BOUND_S), "the loss of the connection is no reason to wait on"
        with writing(postgresql_engine) as connection:
            notify(connection)  # while nobody listens
        assert changes.changed()
        wait_for(lambda: quiet(changes), "no change")
        with reading(postgresql_engine) as connection:
            assert connection.execute(text(f"SELECT count(*) {LISTENERS}")).scalar_one() == 1
        wake_up.clear()
        with writing(postgresql_engine) as connection:
            notify(connection)
        assert wake_up.wait(BOUND_S)


@pytest.fixture(scope="module")
def own() -> Iterator[PostgresServer]:
    """A server that a test may stop."""
    with run_postgres() as server:
        yield server


def test_while_the_server_is_away_the_answer_is_yes_and_then_it_is_heard_again(own: PostgresServer):
    engine = open_database(own.url())
    with detect_changes(engine) as changes:
        wait_for(lambda: quiet(changes), "no change")
        own.stop()
        wait_for(changes.changed, "a change")
        assert [changes.changed() for _ in range(3)] == [True] * 3
        own.start()
        wait_for(lambda: quiet(changes), "no change")
        with writing(engine) as connection:
            notify(connection)
        wait_for(changes.changed, "a change")
    engine.dispose()


def test_now_and_then_it_looks_whatever_it_heard(postgresql_engine: Engine, monkeypatch: pytest.MonkeyPatch):
    with detect_changes(postgresql_engine) as changes:
        wait_for(lambda: quiet(changes), "no change")
        monkeypatch.setattr(notifications, "_LOOK_AGAIN_S", 0.0)
        assert changes.changed()


def test_closing_takes_no_time(postgresql_engine: Engine):
    with detect_changes(postgresql_engine) as changes:
        wait_for(lambda: quiet(changes), "no change")
        began = time.monotonic()
    assert time.monotonic() - began < 5
    assert [thread.name for thread in threading.enumerate() if thread.name == "listener"] == []
