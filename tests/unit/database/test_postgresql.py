"""What only PostgreSQL has: a server that is elsewhere, restarts, refuses, and is shared."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest
from postgres import PASSWORD, run_postgres
from sqlalchemy import Column, Integer, MetaData, Table, func, insert, select, text, update

from dropout_service.database.engine import open_database, reach, reading, writing
from dropout_service.database.outages import OUTAGES, explain_outage
from dropout_service.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from postgres import PostgresServer
    from sqlalchemy import Engine

numbers = Table("numbers", MetaData(), Column("value", Integer, primary_key=True))
RECOVERY_S = 30.0


@pytest.fixture(scope="module")
def own() -> Iterator[PostgresServer]:
    """A server that a test may stop."""
    with run_postgres() as server:
        yield server


def eventually(call: Callable[[], object]) -> object:
    deadline = time.monotonic() + RECOVERY_S
    while True:
        try:
            return call()
        except OUTAGES:
            assert time.monotonic() < deadline, "the database is back and is not found"
            time.sleep(0.01)


def read(engine: Engine) -> list[int]:
    with reading(engine) as connection:
        return list(connection.execute(select(numbers.c.value)).scalars())


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("application_name", "dropout-service"),
        ("statement_timeout", "30s"),
        ("lock_timeout", "20s"),
        ("idle_in_transaction_session_timeout", "30s"),
        ("transaction_isolation", "read committed"),
        ("synchronous_commit", "on"),
    ],
)
def test_a_session_waits_for_nothing_for_ever(postgresql_engine: Engine, setting: str, value: str):
    with writing(postgresql_engine) as connection:
        assert connection.execute(text(f"SHOW {setting}")).scalar_one() == value


def test_a_parameter_of_the_url_goes_before_ours(postgresql_url: str):
    given = "&application_name=mine&options=-c%20statement_timeout%3D5s"
    engine = open_database(postgresql_url + given)
    with writing(engine) as connection:
        shown = [
            connection.execute(text(f"SHOW {setting}")).scalar_one()
            for setting in ("application_name", "statement_timeout", "lock_timeout")
        ]
    engine.dispose()
    assert shown == ["mine", "5s", "20s"]


def test_identifiers_sort_by_their_bytes_whatever_the_language_of_the_server(postgresql_engine: Engine):
    columns = """SELECT table_name || '.' || column_name, collation_name FROM information_schema.columns
                 WHERE table_schema = 'public' AND (column_name IN ('id', 'job_id', 'model', 'dataset'))"""
    with reading(postgresql_engine) as connection:
        found = {row[0]: row[1] for row in connection.execute(text(columns))}
    assert set(found) == {
        "jobs.id", "jobs.dataset", "jobs.model", "job_events.job_id", "datasets.id", "models.id", "models.job_id",
    }  # fmt: skip
    assert set(found.values()) == {"C"}


def test_a_wrong_password_is_told_without_the_password(postgres: PostgresServer):
    right, wrong = open_database(postgres.tcp_url()), open_database(postgres.tcp_url("postgres", "secret-and-wrong"))
    reach(right)
    with pytest.raises(UnavailableError) as caught:
        reach(wrong)
    assert 'password authentication failed for user "postgres"' in caught.value.message
    assert f"postgresql+psycopg://postgres:***@127.0.0.1:{postgres.port}/postgres" in caught.value.message
    assert "secret-and-wrong" not in str(caught.value)
    assert PASSWORD not in repr(right)
    right.dispose()
    wrong.dispose()


def test_a_database_that_does_not_exist_is_told(postgres: PostgresServer):
    engine = open_database(postgres.url("nowhere"))
    with pytest.raises(UnavailableError, match='database "nowhere" does not exist'):
        reach(engine)
    engine.dispose()


def test_a_server_that_restarts_costs_no_more_than_the_requests_meanwhile(own: PostgresServer):
    engine = open_database(own.url())
    with writing(engine) as connection:
        numbers.create(connection)
        connection.execute(insert(numbers).values(value=1))
    own.stop()
    with pytest.raises(OUTAGES) as away:
        read(engine)
    assert "the database does not answer" in explain_outage(away.value).message
    assert "server" not in explain_outage(away.value).message
    own.start()
    # Not once: every connection of the pool was lost.
    assert [read(engine) for _ in range(3)] == [[1]] * 3
    engine.dispose()


def test_a_commit_that_returned_survives_the_death_of_the_server(own: PostgresServer):
    """SIGQUIT leaves the server no time to write anything: what it has is what it wrote before the commit returned."""
    engine = open_database(own.url())
    with writing(engine) as connection:
        numbers.drop(connection, checkfirst=True)
        numbers.create(connection)
    written: list[int] = []
    for number in range(50):
        with writing(engine) as connection:
            connection.execute(insert(numbers).values(value=number))
        written.append(number)

    def write_while_it_dies() -> None:
        with writing(engine) as connection:
            connection.execute(insert(numbers).values(value=99))
            own.stop(own.AT_ONCE)

    with pytest.raises(OUTAGES):
        write_while_it_dies()
    own.start()
    assert eventually(lambda: read(engine)) == written
    engine.dispose()


def test_a_session_that_the_operator_ends_is_replaced(postgresql_engine: Engine, postgres: PostgresServer):
    def sessions_end() -> None:
        ending = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name AND pid != :own")
        with writing(admin) as connection:
            own_pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
            connection.execute(ending, {"name": postgresql_engine.url.database, "own": own_pid})

    admin = open_database(postgres.url())

    def write_meanwhile() -> None:
        with writing(postgresql_engine) as connection:
            numbers.create(connection)
            sessions_end()

    with pytest.raises(OUTAGES):
        write_meanwhile()
    with writing(postgresql_engine) as connection:
        numbers.create(connection)  # nothing of the first try is there
    sessions_end()
    assert read(postgresql_engine) == []
    admin.dispose()


def test_who_freezes_within_a_transaction_loses_its_locks(postgresql_url: str):
    quick = open_database(f"{postgresql_url}&options=-c%20idle_in_transaction_session_timeout%3D100ms")
    patient = open_database(postgresql_url)
    with writing(patient) as connection:
        numbers.create(connection)
        connection.execute(insert(numbers).values(value=1))

    def freeze() -> None:
        with writing(quick) as frozen:
            frozen.execute(update(numbers).values(value=2))
            # Waits for the lock until the server has ended the frozen session.
            with writing(patient) as connection:
                connection.execute(update(numbers).values(value=3))

    with pytest.raises(OUTAGES):
        freeze()
    assert read(patient) == [3]
    quick.dispose()
    patient.dispose()


def test_more_threads_than_connections_wait_for_their_turn(postgresql_engine: Engine):
    with writing(postgresql_engine) as connection:
        numbers.create(connection)
    go = threading.Barrier(40)

    def work(number: int) -> None:
        go.wait()
        with writing(postgresql_engine) as connection:
            connection.execute(insert(numbers).values(value=number))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with reading(postgresql_engine) as connection:
        assert connection.execute(select(func.count()).select_from(numbers)).scalar_one() == 40
        used = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
        assert connection.execute(used).scalar_one() <= 20
