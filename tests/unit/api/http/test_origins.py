from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from dropout_service.app import create_app
from dropout_service.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fastapi import FastAPI
    from live_server import LiveServer

FORWARD = {"x": [1, 2], "rate": 0.5}
PAGE = {"Origin": "https://evil.example"}
ANYWHERE = "0.0.0.0"  # noqa: S104 - a setting; nothing listens

Ask = Any


@pytest.fixture
def ask(open_client: Callable[[FastAPI], httpx.Client], tmp_path: Path) -> Ask:
    """Post a forward pass to a service with these settings, under these headers."""

    def ask(headers: dict[str, str], **settings: Any) -> httpx.Response:
        client = open_client(create_app(Settings(data_dir=tmp_path, dispatcher=False, **settings)))
        return client.post("/dropout/forward", json=FORWARD, headers=headers)

    return ask


@pytest.mark.parametrize(
    ("host", "listens_on", "names", "status"),
    [
        ("localhost:8000", "127.0.0.1", None, 200),
        ("LOCALHOST", "127.0.0.1", None, 200),
        ("127.0.0.1:8000", "127.0.0.1", None, 200),
        ("[::1]:8000", "::1", None, 200),
        ("[::1]", "127.0.0.1", None, 200),
        ("127.0.0.2", "127.0.0.2", None, 200),
        ("rebound.evil.example:8000", "127.0.0.1", None, 421),
        ("localhost.evil.example", "localhost", None, 421),
        ("127.0.0.1.evil.example", "127.0.0.1", None, 421),
        ("", "127.0.0.1", None, 421),
        ("[::1", "127.0.0.1", None, 421),
        ("whatever.example", ANYWHERE, None, 200),
        ("dropout.example.com", ANYWHERE, "dropout.example.com", 200),
        ("dropout.example.com.", ANYWHERE, "dropout.example.com", 200),
        ("other.example.com", ANYWHERE, "dropout.example.com", 421),
        ("a.example.org:443", "127.0.0.1", "localhost, *.example.org", 200),
        ("example.org", "127.0.0.1", "localhost, *.example.org", 421),
        ("notexample.org", "127.0.0.1", "localhost, *.example.org", 421),
    ],
)
def test_a_name_that_is_not_ours_is_not_answered(ask: Ask, host: str, listens_on: str, names: str | None, status: int):
    answer = ask({"Host": host}, host=listens_on, allowed_hosts=names)
    assert answer.status_code == status, answer.text
    if status == 421:
        problem = answer.json()
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["x-request-id"]
        assert problem["type"].endswith("host-not-allowed")
        assert "DROPOUT_SERVICE_ALLOWED_HOSTS" in problem["detail"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "http://localhost:8000"}, 200),
        ({"Origin": "HTTP://LOCALHOST:8000"}, 200),
        ({"Origin": "http://localhost:8001"}, 403),
        ({"Origin": "http://localhost"}, 403),
        (PAGE, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
    ],
)
def test_a_page_of_another_site_cannot_write(ask: Ask, headers: dict[str, str], status: int):
    answer = ask({"Host": "localhost:8000", **headers})
    assert answer.status_code == status, answer.text
    if status == 403:
        assert answer.json()["type"].endswith("origin-not-allowed")
        assert "DROPOUT_SERVICE_ALLOWED_ORIGINS" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("settings", "status"),
    [
        ({"host": ANYWHERE}, 200),
        ({"host": ANYWHERE, "allowed_origins": "https://app.example"}, 403),
        ({"allowed_origins": "https://app.example, https://evil.example"}, 200),
        ({"allowed_origins": "*"}, 200),
    ],
)
def test_which_pages_may_write_is_a_setting(ask: Ask, settings: dict[str, str], status: int):
    assert ask({"Host": "localhost", **PAGE}, **settings).status_code == status


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("allowed_hosts", "http://dropout.example.com"),
        ("allowed_hosts", "dropout.example.com:8000"),
        ("allowed_origins", "app.example.com"),
        ("allowed_origins", "https://app.example.com/page"),
    ],
)
def test_names_and_origins_are_checked_at_start(name: str, value: str):
    with pytest.raises(ValueError, match="should list"):
        Settings.model_validate({name: value})


def test_a_real_service_on_loopback_is_closed_to_other_pages_and_open_to_probes(live_server: LiveServer):
    url = live_server.url
    stored = [len(httpx.get(f"{url}/datasets").json()["items"])]
    rebound = {"Host": "rebound.evil.example"}
    upload = {"url": f"{url}/datasets", "content": b"a,b\n1,2\n3,4\n"}
    assert httpx.post(**upload, headers={**PAGE, "Content-Type": "text/csv"}).status_code == 403
    assert httpx.post(**upload, headers=PAGE).status_code == 403
    assert httpx.get(f"{url}/jobs", headers=rebound).status_code == 421
    assert httpx.get(f"{url}/livez", headers=rebound).status_code == 200
    assert httpx.get(f"{url}/readyz", headers=rebound).status_code == 200
    assert httpx.get(f"{url}/jobs", headers=PAGE).status_code == 200, "reading is harmless: the page sees no answer"
    stored.append(len(httpx.get(f"{url}/datasets").json()["items"]))
    assert stored[0] == stored[1]
