"""Notice that jobs have changed, without reading them, wherever the change was made."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Protocol

from dropout_service.database.notifications import Listener

if TYPE_CHECKING:
    import threading
    from types import TracebackType
    from typing import Self

    from sqlalchemy import Engine

__all__ = ["ChangeDetector", "detect_changes"]


class ChangeDetector(Protocol):
    """Detects whether anything was committed since the last call. A context manager, for one thread."""

    def changed(self) -> bool:
        """Whether there may be anything new since the last call; the first call answers yes."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def detect_changes(engine: Engine, wake_up: threading.Event | None = None) -> ChangeDetector:
    """Begin to notice changes.

    Parameters
    ----------
    engine
        The database. A connection of its own is held.
    wake_up
        Set as soon as there is anything new, where the database tells by itself (PostgreSQL). SQLite has to be asked,
        which costs microseconds.
    """
    return _DataVersion(engine) if engine.dialect.name == "sqlite" else Listener(engine, wake_up)


class _DataVersion:
    """SQLite counts the commits of other connections in ``PRAGMA data_version``."""

    def __init__(self, engine: Engine) -> None:
        self._connection = engine.raw_connection()
        self._connection.detach()  # its own from here on: a pool that is disposed of would leave it open
        self._version = -1

    def changed(self) -> bool:
        try:
            version = self._read_version()
        except sqlite3.Error:  # the file cannot be read now; whoever looks what is new will be told why
            return True
        before, self._version = self._version, version
        return version != before

    def _read_version(self) -> int:
        with closing(self._connection.cursor()) as cursor:
            return int(cursor.execute("PRAGMA data_version").fetchone()[0])  # pyright: ignore[reportOptionalSubscript, reportAttributeAccessIssue] - the driver's, DBAPI promises less

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
