"""Columns that are the same as another, or go one to one with it: told by digests of what is in them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from numpy.typing import NDArray

    from dropout_service.datasets.dataset import Column

__all__ = ["Likeness", "LikenessScan", "related"]

_ENOUGH_ROWS: Final = 20
"""In fewer rows columns may be alike by chance."""
_REPEATED: Final = 2
"""Values that are there so often on average go one to one by more than chance."""


@dataclass(frozen=True, slots=True)
class Likeness:
    """Digests of a column.

    Parameters
    ----------
    content
        Equal for columns of equal values in all rows.
    pattern
        Equal for columns whose values go one to one; ``None`` if there are too many to tell.
    """

    content: bytes
    pattern: bytes | None


class LikenessScan:
    """Digests a column block by block."""

    def __init__(self) -> None:
        self._content = hashlib.sha1(usedforsecurity=False)
        self._pattern = hashlib.sha1(usedforsecurity=False)
        self._codes: dict[Hashable, int] | None = {}

    def add(self, *content: memoryview | NDArray[Any]) -> None:
        """Add what a block holds."""
        for part in content:
            self._content.update(part.tobytes())

    def add_pattern(self, distinct: Iterable[Hashable], places: NDArray[np.integer]) -> None:
        """Add which of its rows have equal values.

        Parameters
        ----------
        distinct
            The distinct values of a block, in the order in which they come; ``None`` is none.
        places
            For each row the index of its value among them, or the index behind the last, which is none.
        """
        if self._codes is not None:
            known = self._codes
            # Numbered as they come: columns that go one to one are then numbered alike.
            codes = [-1 if value is None else known.setdefault(value, len(known)) for value in distinct]
            self._pattern.update(np.array([*codes, -1], np.int32)[places].tobytes())

    def give_up_pattern(self) -> None:
        """There are too many distinct values."""
        self._codes = None

    def finish(self) -> Likeness:
        """Return the digests."""
        return Likeness(self._content.digest(), None if self._codes is None else self._pattern.digest())


def related(rows: int, columns: Sequence[Column], likeness: Sequence[Likeness]) -> list[Column]:
    """Write into each column which earlier one it is the same as, or goes one to one with."""
    if rows < _ENOUGH_ROWS:
        return list(columns)
    same: dict[bytes, str] = {}
    one_to_one: dict[bytes, str] = {}
    found: list[Column] = []
    for column, digests in zip(columns, likeness, strict=True):
        if column.type in {"empty", "other"} or column.constant:
            found.append(column)
            continue
        first = same.setdefault(digests.content, column.name)
        partner = column.name
        if digests.pattern is not None and column.distinct * _REPEATED <= rows - column.missing:
            partner = one_to_one.setdefault(digests.pattern, column.name)
        same_as = first if first != column.name else None
        its_partner = partner if partner != column.name else None
        alike = same_as is not None or its_partner is not None
        found.append(replace(column, same_as=same_as, one_to_one=its_partner) if alike else column)
    return found
