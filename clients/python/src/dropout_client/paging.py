"""Lists that fetch their pages as they are iterated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from dropout_client.flows import Emit, Request, send

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dropout_client.flows import Stream

__all__ = ["pages"]

T = TypeVar("T")


def pages(
    path: str,
    read: Callable[[Mapping[str, Any]], T],
    *,
    limit: int | None = None,
    **params: str | None,
) -> Stream[T]:
    """Give the items of a list, page after page.

    Parameters
    ----------
    path
        The list.
    read
        Makes an item from its JSON.
    limit
        Items to give at most; ``None``: all.
    params
        Filters, sent with every page.
    """
    cursor: str | None = None
    left = limit
    while left is None or left > 0:
        size = None if left is None else min(left, _LARGEST_PAGE)
        response = yield from send(Request(method="GET", path=path, params={**params, "limit": size, "cursor": cursor}))
        page = response.json()
        items: list[Mapping[str, Any]] = page.get("items", [])
        for item in items[:left]:
            yield Emit(read(item))
        cursor = page.get("next_cursor")
        if cursor is None:
            return
        left = None if left is None else left - len(items)


_LARGEST_PAGE = 500
