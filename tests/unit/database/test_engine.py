from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, insert, select, text

from dropout_service.database import sqlite
from dropout_service.database.engine import open_database, reach, reading, writing
from dropout_service.database.outages import OUTAGES, explain_outage
from dropout_service.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine

numbers = Table("numbers", MetaData(), Column("value", Integer, primary_key=True))


@pytest.fixture
def engine(empty_url: str) -> Iterator[Engine]:
    engine = open_database(empty_url)
    with writing(engine) as connection:
        numbers.create(connection)
    yield engine
    engine.dispose()


@pytest.mark.parametrize(
    ("pragma", "value"), [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1), ("busy_timeout", 30_000)]
)
def test_each_connection_to_sqlite_is_durable_and_patient(sqlite_engine: Engine, pragma: str, value: object):
    with reading(sqlite_engine) as connection:
        assert connection.execute(text(f"PRAGMA {pragma}")).scalar_one() == value


def test_the_folder_of_an_sqlite_file_is_made(tmp_path: Path):
    engine = open_database(f"sqlite:///{tmp_path}/deep/service.db")
    reach(engine)
    engine.dispose()
    assert (tmp_path / "deep" / "service.db").exists()


def test_a_failed_transaction_leaves_nothing(engine: Engine):
    def fail() -> None:
        with writing(engine) as connection:
            connection.execute(insert(numbers).values(value=1))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with reading(engine) as connection:
        assert connection.execute(select(numbers)).all() == []


def test_a_reader_keeps_its_snapshot_and_does_not_block_a_writer(engine: Engine):
    with reading(engine) as reader:
        assert reader.execute(select(numbers)).all() == []
        with writing(engine) as writer:
            writer.execute(insert(numbers).values(value=1))
        assert reader.execute(select(numbers)).all() == []
    with reading(engine) as reader:
        assert reader.execute(select(numbers.c.value)).scalars().all() == [1]


def test_concurrent_read_modify_write_of_sqlite_loses_no_update(sqlite_engine: Engine):
    engine = sqlite_engine
    with writing(engine) as connection:
        numbers.create(connection)

    def append() -> None:
        for _ in range(10):
            with writing(engine) as connection:
                count = len(connection.execute(select(numbers)).all())
                connection.execute(insert(numbers).values(value=count))

    threads = [threading.Thread(target=append) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with reading(engine) as connection:
        assert connection.execute(select(numbers.c.value)).scalars().all() == list(range(40))


def test_a_thread_that_gets_no_turn_to_write_is_told_in_time(sqlite_engine: Engine, monkeypatch: pytest.MonkeyPatch):
    def write() -> None:
        with writing(sqlite_engine) as connection:
            connection.execute(text("SELECT 1"))

    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_S", 0.05)
    with ThreadPoolExecutor(1) as other:
        with writing(sqlite_engine):
            waits = other.submit(write)
            with pytest.raises(OUTAGES, match="database is locked"):
                waits.result(10)  # SQLite itself, whose connections had the longer time, would still wait
        other.submit(write).result(10)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "sqlite:///file:x?mode=memory&uri=true"])
def test_a_database_that_processes_cannot_share_is_refused(url: str):
    with pytest.raises(ValueError, match="several processes share"):
        open_database(url)


def test_a_reader_cannot_write(postgresql_engine: Engine):
    with pytest.raises(OUTAGES), reading(postgresql_engine) as connection:
        connection.execute(text("CREATE TABLE t (x int)"))


def test_a_file_that_is_no_database_is_told_at_the_start(tmp_path: Path):
    (tmp_path / "service.db").write_text("nothing that SQLite would know" * 100)
    engine = open_database(f"sqlite:///{tmp_path}/service.db")
    with pytest.raises(UnavailableError, match=r"cannot connect to sqlite:////.*service.db: file is not a database"):
        reach(engine)
    engine.dispose()


def test_a_damaged_sqlite_file_does_not_answer_and_is_no_mistake_of_ours(tmp_path: Path):
    path = tmp_path / "service.db"
    engine = open_database(f"sqlite:///{path}")
    with writing(engine) as connection:
        numbers.create(connection)
    engine.dispose()  # and by that, the log is in the file
    path.write_bytes(b"not a database" * 1000)
    with pytest.raises(OUTAGES) as caught, reading(engine) as connection:
        connection.execute(select(numbers))
    assert "file is not a database" in explain_outage(caught.value).message
