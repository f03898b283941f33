from __future__ import annotations

import pytest
from starlette.requests import Request

from dropout_service.api.http.media_types import accepted_media_type, body_media_type
from dropout_service.errors import NotAcceptableError, UnsupportedMediaTypeError

OFFERED = ("application/json", "application/x-npy", "application/vnd.safetensors")


def request(*headers: tuple[str, str]) -> Request:
    return Request({"type": "http", "headers": [(name.encode(), value.encode()) for name, value in headers]})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("application/json", "application/json"),
        ("Application/JSON; charset=utf-8", "application/json"),
        (" application/x-npy ;x=y", "application/x-npy"),
    ],
)
def test_body_media_type(given: str, expected: str):
    assert body_media_type(request(("content-type", given)), OFFERED) == expected


def test_a_compressed_body_is_not_read():
    with pytest.raises(UnsupportedMediaTypeError, match="gzip"):
        body_media_type(request(("content-type", "application/json"), ("content-encoding", "gzip")), OFFERED)


@pytest.mark.parametrize("headers", [[], [("content-type", "text/plain")], [("content-type", "")]])
def test_body_media_type_that_is_not_read(headers: list[tuple[str, str]]):
    with pytest.raises(UnsupportedMediaTypeError, match="application/json, application/x-npy"):
        body_media_type(request(*headers), OFFERED)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("application/json", "application/json"),
        ("application/json;q=0.5, application/vnd.safetensors;q=0.8", "application/vnd.safetensors"),
        ("application/json;q=0.5;level=1, */*;q=0.1", "application/json"),
        ("*/*;q=0.5, application/x-npy;q=0", "application/json"),
        ("application/*;q=0.3, application/x-npy;q=0.1", "application/json"),
        ("APPLICATION/JSON", "application/json"),
        ("application/json;q=x, application/x-npy", "application/x-npy"),
        ("application/json;q=1.2.3, application/x-npy;q=0.1", "application/x-npy"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "application/x-npy"),
    ],
)
def test_accepted_media_type(accept: str, expected: str):
    assert accepted_media_type(request(("accept", accept)), OFFERED, default="application/x-npy") == expected


def test_several_accept_headers_count_as_one():
    headers = [("accept", "text/html"), ("accept", "application/json")]
    assert accepted_media_type(request(*headers), OFFERED, default="application/x-npy") == "application/json"


@pytest.mark.parametrize("accept", ["text/html", "application/json;q=0", "*/*;q=0", "application/x-npy;q=0.0, text/*"])
def test_nothing_acceptable(accept: str):
    with pytest.raises(NotAcceptableError, match="application/x-npy"):
        accepted_media_type(request(("accept", accept)), OFFERED, default="application/x-npy")
