"""Databases for tests: what runs over one kind runs over both, each test in a database of its own."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from dropout_service.database.engine import open_database
from dropout_service.database.migrate import upgrade

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from postgres import PostgresServer
    from sqlalchemy import Engine

__all__ = ["KINDS", "empty_url", "engine", "migrated_url", "postgresql_engine", "sqlite_engine"]

KINDS = ["sqlite", "postgresql"]

_number = itertools.count()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of an empty database with the schema: copying is faster than migrating."""
    path = tmp_path_factory.mktemp("template") / "service.db"
    upgrade(f"sqlite:///{path}")
    return path.read_bytes()


@pytest.fixture(scope="session")
def postgresql_template(postgres: PostgresServer) -> Iterator[str]:
    """The name of an empty database with the schema."""
    with postgres.database("template_migrated") as url:
        upgrade(url)
        yield "template_migrated"


@pytest.fixture
def sqlite_url(tmp_path: Path, sqlite_template: bytes) -> str:
    """A migrated SQLite file."""
    path = tmp_path / "service.db"
    path.write_bytes(sqlite_template)
    return f"sqlite:///{path}"


@pytest.fixture
def postgresql_url(postgres: PostgresServer, postgresql_template: str) -> Iterator[str]:
    """A migrated PostgreSQL database."""
    with postgres.database(f"test_{next(_number)}", postgresql_template) as url:
        yield url


@pytest.fixture(params=KINDS)
def migrated_url(request: pytest.FixtureRequest) -> str:
    """A migrated database of each kind."""
    return request.getfixturevalue(f"{request.param}_url")


@pytest.fixture(params=KINDS)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of each kind without any table."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/service.db"
        return
    postgres: PostgresServer = request.getfixturevalue("postgres")
    with postgres.database(f"test_{next(_number)}") as url:
        yield url


@pytest.fixture
def engine(migrated_url: str) -> Iterator[Engine]:
    """A migrated database of each kind, open."""
    yield from _open(migrated_url)


@pytest.fixture
def sqlite_engine(sqlite_url: str) -> Iterator[Engine]:
    """A migrated SQLite file, open."""
    yield from _open(sqlite_url)


@pytest.fixture
def postgresql_engine(postgresql_url: str) -> Iterator[Engine]:
    """A migrated PostgreSQL database, open."""
    yield from _open(postgresql_url)


def _open(url: str) -> Iterator[Engine]:
    engine = open_database(url)
    yield engine
    engine.dispose()
