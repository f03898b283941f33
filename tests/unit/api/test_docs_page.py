"""The page of the reference, which needs nothing from elsewhere."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

if TYPE_CHECKING:
    import httpx


def test_the_page_asks_this_service_alone_and_everything_it_asks_for_is_there(service: httpx.Client):
    page = service.get("/docs")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    asked = re.findall(r"""(?:src|href)=["']([^"']+)["']""", page.text)
    asked += re.findall(r"""url: ["']([^"']+)["']""", page.text)
    assert {"swagger-ui-bundle.js", "swagger-ui.css", "favicon.png", "openapi.json"} == {
        urlsplit(url).path.rpartition("/")[2] for url in asked
    }
    for url in asked:
        assert urlsplit(urljoin(str(page.url), url)).netloc == page.url.netloc.decode()
        answer = service.get(url)
        assert answer.status_code == 200, url
        assert len(answer.content) > 500, url
    assert '"validatorUrl": null' in page.text


def test_no_other_page_of_the_framework_shows(service: httpx.Client):
    assert service.get("/redoc").status_code == 404
