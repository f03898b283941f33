"""The database's own clock, as an SQL expression.

Leases, creation times and events are all told by this one clock, so that processes and hosts whose clocks differ
still agree on what came first and on what has run out.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Double
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

__all__ = ["now_s"]


class now_s(FunctionElement[float]):  # noqa: N801 - reads as the SQL function it compiles to
    """Seconds since 1970-01-01 UTC, with a fraction, at the moment the statement runs."""

    inherit_cache = True  # without it, each statement with the time in it would be compiled each time
    type = Double()


@compiles(now_s, "sqlite")
def _sqlite(_element: now_s, _compiler: Any, **_options: Any) -> str:
    # unixepoch('subsec') needs SQLite 3.42. A Julian day in a double resolves 40 microseconds.
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(now_s, "postgresql")
def _postgresql(_element: now_s, _compiler: Any, **_options: Any) -> str:
    # clock_timestamp() moves on within a transaction, as SQLite's clock does.
    return "(extract(epoch from clock_timestamp())::double precision)"
