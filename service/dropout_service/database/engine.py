"""Open a database by URL, and the two kinds of transaction that everything else uses.

What is particular to SQLite and to PostgreSQL is in the modules of these names. Both promise that a commit has reached
the disk when it returns, and that a reader sees one snapshot. One that does not answer raises one of
`database.outages.OUTAGES`.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError

from dropout_service.database import postgresql, sqlite
from dropout_service.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Generator

    from sqlalchemy import Connection, Engine

__all__ = ["open_database", "reach", "reading", "writing"]

_READING = {"sqlite": sqlite.READING, "postgresql": postgresql.READING}
_TURN = {"sqlite": sqlite.turn, "postgresql": nullcontext}


def open_database(url: str) -> Engine:
    """Open the database at a URL; no connection is made yet.

    Parameters
    ----------
    url
        ``sqlite:////data/service.db``, whose folder is created when it is missing, or
        ``postgresql://user:password@host:5432/database``.
    """
    parsed = make_url(url)
    backend = sqlite if parsed.get_backend_name() == "sqlite" else postgresql
    return backend.open_database(parsed)


def reach(engine: Engine) -> None:
    """Connect once, to find out at the start what would otherwise fail later.

    Raises
    ------
    UnavailableError
        With the reason, for the operator; it does not tell the password.
    """
    try:
        with engine.connect():
            pass
    except DBAPIError as error:
        place = engine.url.set(query={}).render_as_string(hide_password=True)
        raise UnavailableError(f"cannot connect to {place}: {' '.join(str(error.orig).split())}") from error


@contextmanager
def reading(engine: Engine) -> Generator[Connection]:
    """Run a transaction that only reads: one consistent snapshot, never in the way of a writer."""
    with engine.connect().execution_options(**_READING[engine.dialect.name]) as connection:
        yield connection


@contextmanager
def writing(engine: Engine) -> Generator[Connection]:
    """Run a transaction that writes: committed at the end of the block, rolled back when it raises.

    When the database goes away during the commit, nobody knows whether it came through.
    """
    with _TURN[engine.dialect.name](engine), engine.begin() as connection:
        yield connection
