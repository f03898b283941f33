from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

import dropout_service.database.idempotency
import dropout_service.datasets.tables
import dropout_service.jobs.tables
import dropout_service.models.tables  # noqa: F401 - with the imports above, the metadata is complete
from dropout_service.database.engine import open_database, reading, writing
from dropout_service.database.metadata import metadata
from dropout_service.database.migrate import alembic_config, upgrade

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/service.db"


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
        connection.execute(text("INSERT INTO idempotency_keys VALUES ('op', 'key', 'hash', 1, 202, '{}', x'00')"))
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
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all() == ["0001"]
    engine.dispose()


def test_down_leaves_an_empty_database(url: str):
    upgrade(url)
    engine = open_database(url)
    with writing(engine) as connection:
        command.downgrade(alembic_config(connection), "base")
    with reading(engine) as connection:
        assert inspect(connection).get_table_names() == ["alembic_version"]
    engine.dispose()
