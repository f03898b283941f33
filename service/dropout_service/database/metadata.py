"""The one ``MetaData`` on which every package defines its tables, and the type of the columns that identify."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import MetaData, String
from sqlalchemy.types import TypeDecorator

if TYPE_CHECKING:
    from sqlalchemy import Dialect
    from sqlalchemy.types import TypeEngine

__all__ = ["Identifier", "metadata"]

metadata = MetaData(
    # Named constraints are what lets a migration alter them, on SQLite too.
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    },
)


class Identifier(TypeDecorator[str]):
    """A text that names a row, and sorts by its bytes wherever it is kept.

    PostgreSQL would sort by the language that its server was set up with, and lists are paged by this order.
    """

    impl = String
    cache_ok = True

    def __init__(self, length: int) -> None:
        super().__init__(length)
        self._length = length

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:  # noqa: D102 - as in SQLAlchemy
        return dialect.type_descriptor(String(self._length, collation="C" if dialect.name == "postgresql" else None))

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002, D102 - as in SQLAlchemy
        # PostgreSQL cannot be asked for a text with a NUL. No identifier has one, nor the character in its place.
        return None if value is None else value.replace("\0", "\ufffd")
