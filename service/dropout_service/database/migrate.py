"""Bring a database to a schema. Safe when several processes start at once: one migrates, the others wait."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Column, String, Table, delete, event, insert, inspect, select, text

from dropout_service.database.engine import open_database, writing
from dropout_service.database.metadata import metadata
from dropout_service.errors import ConflictError, InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from sqlalchemy import Connection

__all__ = ["BASE", "HEAD", "Migration", "check_revision", "compatibility", "migrate", "revisions", "upgrade"]

logger = logging.getLogger(__name__)

compatibility = Table("schema_compatibility", metadata, Column("works_with", String(32), primary_key=True))
"""One row: the oldest revision whose version of the service works with this schema.

By it, a version that does not know the latest revision, because a later version has migrated the database, finds out
whether it may go on; each revision says it in its file, as ``works_with``.
"""

BASE = "base"
"""The revision of an empty database."""
HEAD = "head"
"""The revision that this version of the service works with."""

ADVISORY_LOCK = 0x64726F706F7574
"""Any number of our own: PostgreSQL's lock of whoever migrates."""


@dataclass(frozen=True, slots=True)
class Migration:
    """What a migration did.

    Parameters
    ----------
    before, after
        The revision of the database; ``base`` when it is empty.
    """

    before: str
    after: str


def upgrade(url: str) -> None:
    """Bring the database at a URL to the schema that this version works with; see :func:`migrate`."""
    migrate(url, HEAD)


def migrate(url: str, to: str) -> Migration:
    """Bring the database at a URL to a revision, up or down, all the way or not at all.

    Parameters
    ----------
    url
        A SQLAlchemy URL. An SQLite file is created when it is missing.
    to
        The revision: ``head``, ``base`` or one of :func:`revisions`.

    Raises
    ------
    InvalidInputError
        There is no such revision.
    ConflictError
        The database is at a revision that this version neither knows nor can work with.
    """
    target, known = check_revision(to), revisions()
    with _migrating(url) as connection:
        before = _current(connection)
        if before not in known:
            if to == HEAD and _works_with(connection) in known:
                logger.warning("the database was migrated to %s by a later version, with which this one works", before)
                return Migration(before, before)
            raise ConflictError(
                f"the database is at revision {before}, which this version does not know (its last is {known[-1]}): a "
                f"later version has migrated it; run that one, or let it go back with its "
                f"`dropout-service migrate --to {known[-1]}`"
            )
        if known.index(target) >= known.index(before):
            command.upgrade(alembic_config(connection), target)
        else:
            command.downgrade(alembic_config(connection), target)
        after = _current(connection)
        if _knows_compatibility(connection):
            connection.execute(delete(compatibility))
            connection.execute(insert(compatibility).values(works_with=_oldest_for(after)))
        return Migration(before, after)


def check_revision(to: str) -> str:
    """Return the revision that is meant, before any database is opened.

    Raises
    ------
    InvalidInputError
        There is no such revision.
    """
    known = revisions()
    target = {BASE: BASE, HEAD: known[-1]}.get(to, to)
    if target not in known:
        raise InvalidInputError(f"there is no revision {to!r}; there are {', '.join(known)} and {HEAD}")
    return target


def revisions() -> list[str]:
    """List the revisions from ``base`` on; the last is the one that this version works with."""
    scripts = ScriptDirectory.from_config(_config())
    return [BASE, *reversed([script.revision for script in scripts.walk_revisions()])]


def alembic_config(connection: Connection) -> Config:
    """Configure Alembic for the migrations of this package, to run on an open transaction."""
    config = _config()
    config.attributes["connection"] = connection
    return config


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def _works_with(connection: Connection) -> str | None:
    """Return the oldest revision whose version of the service can work with the database as it is."""
    if not _knows_compatibility(connection):
        return None
    return connection.execute(select(compatibility.c.works_with)).scalar_one_or_none()


def _knows_compatibility(connection: Connection) -> bool:
    return inspect(connection).has_table(compatibility.name)


def _oldest_for(revision: str) -> str:
    return ScriptDirectory.from_config(_config()).get_revision(revision).module.works_with


def _current(connection: Connection) -> str:
    return MigrationContext.configure(connection).get_current_revision() or BASE


@contextmanager
def _migrating(url: str) -> Generator[Connection]:
    """Open one transaction, so that a migration that fails leaves the database as it was."""
    engine = open_database(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _without_foreign_keys)
    try:
        with writing(engine) as connection:  # on SQLite, others wait for the write lock of this transaction
            if engine.dialect.name == "postgresql":
                for setting in ("statement_timeout", "lock_timeout"):  # a large table may take its time
                    connection.execute(text(f"SET LOCAL {setting} = 0"))
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": ADVISORY_LOCK})
            yield connection
    finally:
        engine.dispose()


def _without_foreign_keys(connection: Any, _record: object) -> None:
    # SQLite alters a table by making another in its place; dropping the old one would delete what refers to it.
    connection.execute("PRAGMA foreign_keys=OFF")
