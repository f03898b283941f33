"""Which of many values a column holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from dropout_service.database.engine import reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Column, Engine

__all__ = ["Owners", "missing"]

_MAX_IN = 500
"""Values of one ``IN``: databases bound the number of parameters."""


def missing(engine: Engine, column: Column[str], values: Sequence[str]) -> list[str]:
    """Return those of ``values`` that no row has in ``column``, in their order."""
    found: set[str] = set()
    with reading(engine) as connection:
        for start in range(0, len(values), _MAX_IN):
            part = select(column).where(column.in_(values[start : start + _MAX_IN]))
            found.update(connection.execute(part).scalars())
    return [value for value in values if value not in found]


@dataclass(frozen=True, slots=True)
class Owners:
    """The rows of a column that names blobs, for who has to know no more of them."""

    engine: Engine
    column: Column[str]

    def unowned(self, blob_keys: Sequence[str]) -> list[str]:
        """Return those of ``blob_keys`` that no row names."""
        return missing(self.engine, self.column, blob_keys)
