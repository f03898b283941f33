"""PostgreSQL: one database for several replicas of the service, on any number of hosts.

Writers run at READ COMMITTED and take the rows they change with ``FOR UPDATE``, so that they wait for one another and
never have to be repeated. Nothing waits for ever: neither for a connection, nor for a lock, nor for a peer that is gone
without a word; and a client that froze within a transaction loses it, and with it the locks that it held.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import create_engine

if TYPE_CHECKING:
    from sqlalchemy import URL, Engine

__all__ = ["READING", "open_database"]

READING: Final = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
"""Options of a connection that only reads."""

_SESSION: Final = {
    "statement_timeout": "30s",
    "lock_timeout": "20s",
    "idle_in_transaction_session_timeout": "30s",
}
_CONNECTION: Final[dict[str, str | int]] = {
    "application_name": "dropout-service",
    "connect_timeout": 5,
    # A peer that is gone without a word is found out after 25 seconds, instead of two hours.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}
"""Parameters of libpq; a parameter of the URL goes before."""

_KEPT_CONNECTIONS: Final = 5
_MORE_CONNECTIONS: Final = 15
_WAIT_FOR_CONNECTION_S: Final = 10.0


def open_database(url: URL) -> Engine:
    """Open a PostgreSQL database.

    At most 20 connections are open at once: a server has 100 by default, for all replicas together. A connection is
    tried before it is used, so that a restart of the server costs nobody an error afterwards.
    """
    ours = {name: value for name, value in _CONNECTION.items() if name not in url.query}
    session = " ".join(f"-c {name}={value}" for name, value in _SESSION.items())
    given = url.query.get("options", "")
    connect_args: dict[str, Any] = {**ours, "options": f"{session} {given}".strip()}
    return create_engine(
        url.set(drivername="postgresql+psycopg").difference_update_query(["options"]),
        connect_args=connect_args,
        isolation_level="READ COMMITTED",  # whatever the server's default is
        pool_pre_ping=True,
        pool_size=_KEPT_CONNECTIONS,
        max_overflow=_MORE_CONNECTIONS,
        pool_timeout=_WAIT_FOR_CONNECTION_S,
    )
