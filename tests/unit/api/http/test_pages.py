from __future__ import annotations

from typing import Any

import pytest

from dropout_service.api.http.pages import Page, decode_cursor, encode_cursor
from dropout_service.errors import InvalidInputError


@pytest.mark.parametrize("key", ["job_01", "x", "ä/ü+=", "a" * 300])
def test_a_cursor_carries_a_key(key: str):
    cursor = encode_cursor(key)
    assert cursor.isascii()
    assert set(cursor).isdisjoint("+/=&?")
    assert decode_cursor(cursor) == key


@pytest.mark.parametrize("cursor", ["", "!", "a", "YQ==", "/w", "gA", "ä", "YR"])
def test_what_is_no_cursor_is_rejected(cursor: str):
    with pytest.raises(InvalidInputError, match="next_cursor") as caught:
        decode_cursor(cursor)
    assert caught.value.errors[0].pointer == "/cursor"


def test_a_page_tells_whether_more_follow():
    def page(found: list[int]) -> dict[str, Any]:
        return Page[str].of(found, limit=2, key=lambda entry: f"key {entry}", item=str).model_dump()

    assert page([1, 2, 3]) == {"items": ["1", "2"], "next_cursor": encode_cursor("key 2")}
    assert page([1, 2]) == {"items": ["1", "2"], "next_cursor": None}
    assert page([]) == {"items": [], "next_cursor": None}
