from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, select, text, update

import dropout_service.database.idempotency
import dropout_service.datasets.tables
import dropout_service.jobs.tables
import dropout_service.models.tables  # noqa: F401 - with the imports above, the metadata is complete
from dropout_service.database.engine import open_database, reading, writing
from dropout_service.database.metadata import metadata
from dropout_service.database.migrate import (
    BASE,
    HEAD,
    Migration,
    _current,
    _oldest_for,
    compatibility,
    migrate,
    revisions,
    upgrade,
)
from dropout_service.errors import ConflictError, InvalidInputError
from dropout_service.jobs.sql import SqlJobStore
from dropout_service.training.spec import TrainingSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LAST = revisions()[-1]


@pytest.fixture
def url(empty_url: str) -> str:
    return empty_url


@pytest.fixture
def spec() -> TrainingSpec:
    return TrainingSpec.model_validate(
        {"name": "digits", "task": "classification", "data": {"dataset": "sha256-4f2a"}, "epochs": 10}
    )


def test_the_migrations_make_what_the_code_declares(url: str):
    upgrade(url)
    engine = open_database(url)
    with reading(engine) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_upgrading_again_changes_nothing(url: str):
    upgrade(url)
    engine = open_database(url)
    with writing(engine) as connection:
        connection.execute(text("INSERT INTO idempotency_keys VALUES ('op', 'key', 'hash', 1, 202, '{}', NULL)"))
    upgrade(url)
    with reading(engine) as connection:
        assert connection.execute(text("SELECT key FROM idempotency_keys")).scalars().all() == ["key"]
    engine.dispose()


def test_processes_that_start_at_once_all_find_the_schema(url: str):
    program = f"from dropout_service.database.migrate import upgrade; upgrade({url!r})"
    processes = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(3)]
    assert [process.wait(timeout=60) for process in processes] == [0, 0, 0]
    engine = open_database(url)
    with reading(engine) as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all() == [LAST]
    engine.dispose()


def test_each_revision_goes_up_and_down(url: str):
    assert revisions()[0] == BASE
    for below, revision in pairwise(revisions()):
        assert migrate(url, revision) == Migration(below, revision)
        assert migrate(url, below) == Migration(revision, below)
        assert migrate(url, revision) == Migration(below, revision)
    assert migrate(url, HEAD) == Migration(LAST, LAST)


def test_down_leaves_an_empty_database_and_up_makes_it_as_it_was(url: str):
    upgrade(url)
    assert migrate(url, BASE) == Migration(LAST, BASE)
    engine = open_database(url)
    with reading(engine) as connection:
        assert inspect(connection).get_table_names() == ["alembic_version"]
    upgrade(url)
    with reading(engine) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_jobs_survive_the_way_down_to_the_first_revision_and_up(url: str, spec: TrainingSpec):
    upgrade(url)
    engine = open_database(url)
    store = SqlJobStore(engine)
    jobs = [store.submit(spec) for _ in range(3)]
    store.claim(1, dispatcher="d", lease_s=60)
    store.request_cancel(jobs[1].id)
    # The first revision has no place for the phase.
    before = [(replace(store.get(job.id), phase=None), store.events(job.id)) for job in jobs]
    engine.dispose()
    migrate(url, revisions()[1])
    upgrade(url)
    assert [(store.get(job.id), store.events(job.id)) for job in jobs] == before
    engine.dispose()


def test_a_revision_that_does_not_exist_is_told_with_those_that_do(url: str):
    with pytest.raises(InvalidInputError, match=r"no revision '9999'; there are base, 0001"):
        migrate(url, "9999")


@pytest.fixture
def later(url: str) -> Iterator[Callable[[str], None]]:
    """Have a later version migrate the database to a revision of its own, which works with one that is named."""
    upgrade(url)
    engine = open_database(url)

    def migrated(works_with: str) -> None:
        with writing(engine) as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
            connection.execute(update(compatibility).values(works_with=works_with))

    yield migrated
    engine.dispose()


def test_a_database_of_a_later_version_that_this_one_cannot_work_with_is_left_alone(
    url: str, later: Callable[[str], None]
):
    later("9998")
    with pytest.raises(ConflictError, match="at revision 9999, which this version does not know"):
        upgrade(url)


def test_a_database_of_a_later_version_that_this_one_can_work_with_is_used(
    url: str, later: Callable[[str], None], caplog: pytest.LogCaptureFixture
):
    later(LAST)
    assert migrate(url, HEAD) == Migration("9999", "9999")
    assert "migrated to 9999 by a later version, with which this one works" in caplog.text
    with pytest.raises(ConflictError, match="let it go back with its `dropout-service migrate"):
        migrate(url, "0001")


def test_each_revision_says_which_versions_work_with_it(url: str):
    for revision in revisions()[1:]:
        migrate(url, revision)
        assert _oldest_for(revision) in revisions()[1 : revisions().index(revision) + 1]
    engine = open_database(url)
    with reading(engine) as connection:
        assert connection.execute(select(compatibility.c.works_with)).scalars().all() == [_oldest_for(LAST)]
    engine.dispose()


def test_the_revision_is_checked_before_a_database_is_made(tmp_path: Path):
    with pytest.raises(InvalidInputError, match="no revision '9999'"):
        migrate(f"sqlite:///{tmp_path}/service.db", "9999")
    assert list(tmp_path.iterdir()) == []


def test_a_migration_that_fails_leaves_nothing(url: str, monkeypatch: pytest.MonkeyPatch):
    def fail(_connection: object) -> str:
        raise RuntimeError

    def first_that_then_fail(connection: Connection) -> str:
        return next(steps)(connection)

    steps = iter([_current, fail])
    monkeypatch.setattr("dropout_service.database.migrate._current", first_that_then_fail)
    with pytest.raises(RuntimeError):
        upgrade(url)
    engine = open_database(url)
    with reading(engine) as connection:
        assert inspect(connection).get_table_names() == []
    engine.dispose()
