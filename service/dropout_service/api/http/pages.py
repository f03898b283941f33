"""Lists come in pages: ``limit`` entries, and a cursor that leads to the next page."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Generic, Self, TypeVar

from fastapi import Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from dropout_service.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Page", "PageQuery", "PageRequest", "decode_cursor", "encode_cursor"]

T = TypeVar("T")
E = TypeVar("E")

MAX_LIMIT = 500


class Page(BaseModel, Generic[T]):
    """A part of a list, in a stable order."""

    model_config = ConfigDict(frozen=True)

    items: list[T] = Field(description="The entries of this page.")
    next_cursor: str | None = Field(description="Give it as `cursor` to read the next page; null on the last page.")

    @classmethod
    def of(cls, found: Sequence[E], *, limit: int, key: Callable[[E], str], item: Callable[[E], T]) -> Self:
        """Build a page from one more entry than it has room for, if there is one.

        Parameters
        ----------
        found
            Up to ``limit + 1`` entries: the last one only tells that more follow.
        limit
            Largest number of entries of the page.
        key
            Gives the key of an entry, which those that follow come after.
        item
            Gives what the page shows of an entry.
        """
        entries = found[:limit]
        next_cursor = encode_cursor(key(entries[-1])) if len(found) > limit else None
        return cls(items=[item(entry) for entry in entries], next_cursor=next_cursor)


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Which page is asked for: at most ``limit`` entries that follow the key ``after``."""

    limit: int
    after: str | None


def _page_request(
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Largest number of entries of the page.")] = 50,
    cursor: Annotated[
        str | None, Query(min_length=1, description="`next_cursor` of the page before; left out for the first.")
    ] = None,
) -> PageRequest:
    return PageRequest(limit=limit, after=None if cursor is None else decode_cursor(cursor))


PageQuery = Annotated[PageRequest, Depends(_page_request)]
"""A route's parameter: the page that the query asks for."""


def encode_cursor(after: str) -> str:
    """Wrap the key of an entry, so that clients do not take it for more than a bookmark."""
    return urlsafe_b64encode(after.encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> str:
    """Unwrap what :func:`encode_cursor` made.

    Raises
    ------
    InvalidInputError
        When this service did not make the cursor.
    """
    try:
        after = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4)).decode()
    except ValueError:
        after = ""
    if not after or encode_cursor(after) != cursor:
        raise InvalidInputError.at(
            "/cursor", f"{cursor!r} is not a cursor; take `next_cursor` of a page as it is, or leave it out"
        )
    return after
