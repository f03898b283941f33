"""Which of many values a column holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import select

from dropout_service.database.engine import reading

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Column, Engine

__all__ = ["Owners", "missing", "parts_for_in"]

T = TypeVar("T")

_MAX_IN = 500


def parts_for_in(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """Part the values of an ``IN`` into as many as one statement takes: databases bound the number of parameters."""
    for start in range(0, len(values), _MAX_IN):
        yield values[start : start + _MAX_IN]


def missing(engine: Engine, column: Column[str], values: Sequence[str]) -> list[str]:
    """Return those of ``values`` that no row has in ``column``, in their order."""
    found: set[str] = set()
    with reading(engine) as connection:
        for part in parts_for_in(values):
            found.update(connection.execute(select(column).where(column.in_(part))).scalars())
    return [value for value in values if value not in found]


@dataclass(frozen=True, slots=True)
class Owners:
    """The rows of a column that names blobs, for who has to know no more of them."""

    engine: Engine
    column: Column[str]

    def unowned(self, blob_keys: Sequence[str]) -> list[str]:
        """Return those of ``blob_keys`` that no row names."""
        return missing(self.engine, self.column, blob_keys)
