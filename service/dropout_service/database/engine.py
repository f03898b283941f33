"""Open a database by URL, and the two kinds of transaction that everything else uses.

SQLite runs in WAL mode with ``synchronous=FULL``: a commit has reached the disk when it returns, so that an
accepted job survives a power cut. A transaction that may write begins with ``BEGIN IMMEDIATE``: it waits for its
turn at the start, where waiting is safe, and never has to give up half-way because another writer came first.
"""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, event, make_url

if TYPE_CHECKING:
    from collections.abc import Generator

    from sqlalchemy import Connection, Engine

__all__ = ["open_database", "reading", "writing"]

BUSY_TIMEOUT_S = 30.0
"""How long a writer waits for its turn on SQLite before it reports that the database is locked."""

READ_ONLY = "dropout_read_only"


def open_database(url: str) -> Engine:
    """Open the database at a URL, such as ``sqlite:////data/service.db``; no connection is made yet.

    Parameters
    ----------
    url
        A SQLAlchemy URL. The folder of an SQLite file is created when it is missing; an SQLite database in
        memory is refused, since the processes of the service could not share it.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return create_engine(parsed, pool_pre_ping=True)
    if parsed.database is None or parsed.database in {"", ":memory:"} or "mode" in parsed.query:
        raise ValueError(f"the database must be a file that several processes share, got {url!r}")
    Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    # The request threads bound the number of connections; a second bound here would only add a place to wait.
    engine = create_engine(parsed, connect_args={"timeout": BUSY_TIMEOUT_S}, max_overflow=-1)
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


@contextmanager
def reading(engine: Engine) -> Generator[Connection]:
    """Run a transaction that only reads: one consistent snapshot, never in the way of a writer."""
    with engine.connect().execution_options(**{READ_ONLY: True}) as connection:
        yield connection


@contextmanager
def writing(engine: Engine) -> Generator[Connection]:
    """Run a transaction that writes: committed at the end of the block, rolled back when it raises."""
    with engine.begin() as connection:
        yield connection


def _configure_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver's own BEGIN would be a deferred one; see _begin_sqlite
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    read_only = connection.get_execution_options().get(READ_ONLY, False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")
