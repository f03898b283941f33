"""Notice that a database has changed, without reading it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from sqlalchemy import Engine

__all__ = ["ChangeDetector"]


class ChangeDetector:
    """Tells whether anything was committed since the last call.

    SQLite counts the commits of other connections in ``PRAGMA data_version``, which costs microseconds. Elsewhere
    the answer is always yes, and the caller's interval bounds the load.

    Parameters
    ----------
    engine
        The database. A connection of its own is held, by the thread that calls.
    """

    def __init__(self, engine: Engine) -> None:
        self._connection = engine.raw_connection() if engine.dialect.name == "sqlite" else None
        self._version = -1

    def changed(self) -> bool:
        """Whether another connection has committed since the last call; the first call answers yes."""
        if self._connection is None:
            return True
        cursor = self._connection.cursor()
        version = int(cursor.execute("PRAGMA data_version").fetchone()[0])  # pyright: ignore[reportOptionalSubscript, reportAttributeAccessIssue] - the driver's, DBAPI promises less
        cursor.close()
        before, self._version = self._version, version
        return version != before

    def close(self) -> None:
        """Give the connection back."""
        if self._connection is not None:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
