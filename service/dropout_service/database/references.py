"""Which blobs the rows of a column name, and how many values one statement may hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import select

from dropout_service.database.engine import reading

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Column, Engine

__all__ = ["Owners", "parts_for_in"]

T = TypeVar("T")

_MAX_IN = 500


def parts_for_in(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """Part the values of an ``IN`` into as many as one statement takes: databases bound the number of parameters."""
    for start in range(0, len(values), _MAX_IN):
        yield values[start : start + _MAX_IN]


@dataclass(frozen=True, slots=True)
class Owners:
    """The rows of a column that names blobs, for who has to know no more of them."""

    engine: Engine
    column: Column[str]

    def unowned(self, blob_keys: Sequence[str]) -> list[str]:
        """Return those of ``blob_keys`` that no row names, in their order."""
        owned: set[str] = set()
        with reading(self.engine) as connection:
            for part in parts_for_in(blob_keys):
                owned.update(connection.execute(select(self.column).where(self.column.in_(part))).scalars())
        return [key for key in blob_keys if key not in owned]
