"""``LISTEN`` and ``NOTIFY``: PostgreSQL notifies every replica of a commit, in the moment of the commit.

A notification is part of the transaction that makes the change: it is delivered if and only if that is committed, and
after that. It says that something has changed, not what: who waits looks that up, in one query for all.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any, Final

import psycopg
from sqlalchemy import text

from dropout_service.database.outages import OUTAGES

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from sqlalchemy import Connection, Engine

__all__ = ["Listener", "notify"]

_CHANNEL: Final = "dropout_jobs"
_NOTIFY: Final = text(f"NOTIFY {_CHANNEL}")
_LOOK_AGAIN_S: Final = 5.0
"""Longest time without a look, whatever was heard: a connection may be gone without a word for a while."""
_AWAY_S: Final = 0.5
"""Pause before another connection is tried."""
_HEAR_S: Final = 0.25
"""Longest time that the thread listens before it looks whether it is to end."""

logger = logging.getLogger(__name__)


def notify(connection: Connection) -> None:
    """Let every listener know, once this transaction is committed; SQLite needs no telling."""
    if connection.dialect.name == "postgresql":
        connection.execute(_NOTIFY)


class Listener:
    """Hears of commits by a connection and a thread of its own; a context manager.

    Nothing is missed when that connection is lost: until there is another that listens, the answer is always yes, and
    once more when it does, for what happened in between.

    Parameters
    ----------
    engine
        A PostgreSQL database.
    wake_up
        Set when there is anything new.
    """

    def __init__(self, engine: Engine, wake_up: threading.Event | None = None) -> None:
        self._engine = engine
        self._wake_up = wake_up or threading.Event()
        self._news = threading.Event()
        self._listening = False
        self._closed = threading.Event()
        self._looked_at = 0.0
        self._thread = threading.Thread(target=self._listen, name="listener", daemon=True)

    def changed(self) -> bool:
        """Whether there may be anything new since the last call; the first call answers yes."""
        now = time.monotonic()
        if self._listening and not self._news.is_set() and now < self._looked_at + _LOOK_AGAIN_S:
            return False
        # What is told from here on is news for the next call.
        self._news.clear()
        self._looked_at = now
        return True

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        self._thread.join()

    def _listen(self) -> None:
        while not self._closed.is_set():
            try:
                self._hear()
            except (psycopg.Error, *OUTAGES) as error:
                logger.warning("changes are not heard for a moment: %s", " ".join(str(error).split()))
            self._closed.wait(_AWAY_S)

    def _hear(self) -> None:
        # Not one of the pool's: it is never given back.
        pooled = self._engine.raw_connection()
        connection: psycopg.Connection[Any] = pooled.driver_connection  # pyright: ignore[reportAssignmentType] - psycopg's
        pooled.detach()
        try:
            connection.autocommit = True
            connection.execute(f"LISTEN {_CHANNEL}")
            self._listening = True
            self._tell()  # of what was committed before this
            while not self._closed.is_set():
                for _ in connection.notifies(timeout=_HEAR_S):
                    self._tell()
        finally:
            self._listening = False
            self._tell()
            connection.close()

    def _tell(self) -> None:
        self._news.set()
        self._wake_up.set()
