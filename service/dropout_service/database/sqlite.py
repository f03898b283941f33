"""SQLite: one file, many processes of one host.

It runs in WAL mode with ``synchronous=FULL``: a commit has reached the disk when it returns, so that an accepted job
survives a power cut. A transaction that may write begins with ``BEGIN IMMEDIATE``: it waits for its turn at the start,
where waiting is safe, and never has to give up half-way because another writer came first.

SQLite waits by looking again, after up to 100 ms, and gives nobody a turn: of eight threads that write all the time,
one waits for seconds while the others go first. So the threads of a process take turns before they ask SQLite, which
then only has to decide between processes. A lock of all processes could do without SQLite's waiting altogether, but one
that is suspended would hold it for ever, while SQLite gives up after `BUSY_TIMEOUT_S`.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import create_engine, event
from sqlalchemy.exc import OperationalError

if TYPE_CHECKING:
    from collections.abc import Generator

    from sqlalchemy import URL, Connection, Engine
    from sqlalchemy.engine import ExceptionContext

__all__ = ["BUSY_TIMEOUT_S", "READING", "open_database", "turn"]

_BEGIN_WRITING = "BEGIN IMMEDIATE"
_TURN = "dropout_turn"
BUSY_TIMEOUT_S: Final = 30.0
"""How long a writer waits for its turn before it reports that the database is locked."""

_READ_ONLY = "dropout_read_only"
READING: Final = {_READ_ONLY: True}
"""Options of a connection that only reads."""


def open_database(url: URL) -> Engine:
    """Open an SQLite file; a database in memory is refused, since the processes of the service could not share it."""
    if url.database is None or url.database in {"", ":memory:"} or "mode" in url.query:
        raise ValueError(f"the database must be a file that several processes share, got {str(url)!r}")
    Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    # The request threads bound the number of connections; a second bound here would only add a place to wait.
    engine = create_engine(
        url,
        connect_args={"timeout": BUSY_TIMEOUT_S},
        max_overflow=-1,
        execution_options={_TURN: Lock()},
        json_deserializer=_decoded,
    )
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    event.listen(engine, "handle_error", _explain_damage)
    return engine


@contextmanager
def turn(engine: Engine) -> Generator[None]:
    """Wait until no other thread of this process writes.

    Raises
    ------
    OperationalError
        SQLite's own, after `BUSY_TIMEOUT_S`.
    """
    lock: Lock = engine.get_execution_options()[_TURN]
    if not lock.acquire(timeout=BUSY_TIMEOUT_S):
        raise OperationalError(_BEGIN_WRITING, None, sqlite3.OperationalError("database is locked"))
    try:
        yield
    finally:
        lock.release()


def _decoded(text: str) -> Any:
    """Read JSON; damaged text, which only a file changed by others has, is null, so that its row can be shown."""
    try:
        return json.loads(text)
    except ValueError:
        return None


def _configure(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver's own BEGIN would be a deferred one; see _begin
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    read_only = connection.get_execution_options().get(_READ_ONLY, False)
    connection.exec_driver_sql("BEGIN" if read_only else _BEGIN_WRITING)


def _explain_damage(context: ExceptionContext) -> None:
    """Turn the error of a damaged file into an outage: the database does not answer until it is restored.

    The driver raises its most general error then, which is also the base of mistakes in our own statements.
    """
    error = context.original_exception
    if type(error) is sqlite3.DatabaseError:
        raise OperationalError(context.statement, None, error) from error
