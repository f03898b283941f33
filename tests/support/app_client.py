"""The application in the test's own process: ``open_client(app)`` is a blocking client of any ASGI application."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from anyio.from_thread import start_blocking_portal

from dropout_service.app import create_app
from dropout_service.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from anyio.from_thread import BlockingPortal
    from fastapi import FastAPI

    from dropout_service.api.readiness import Readiness

__all__ = ["open_client", "service"]

START_TIMEOUT_S = 60.0


class AppTransport(httpx.BaseTransport):
    """Runs each request on the event loop of a portal, against one ASGI application.

    A streamed request stays chunked; an answer is read to its end before it is handed on.
    """

    def __init__(self, portal: BlockingPortal, app: Any) -> None:
        self.portal = portal
        self.transport = httpx.ASGITransport(app)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self.portal.call(self._answer, request)

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        chunks = _Chunks(list(request.stream))  # pyright: ignore[reportArgumentType] - a blocking client's stream
        forwarded = httpx.Request(
            request.method,
            request.url,
            headers=request.headers,
            stream=chunks,
            extensions=request.extensions,
        )
        response = await self.transport.handle_async_request(forwarded)
        content = await response.aread()
        return httpx.Response(
            response.status_code, headers=response.headers, stream=httpx.ByteStream(content), request=request
        )


class _Chunks(httpx.AsyncByteStream):
    def __init__(self, chunks: list[bytes]) -> None:
        self.chunks = chunks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self.chunks:
            yield chunk


def wait_until_settled(readiness: Readiness | None) -> None:
    """Let the thread that compiles kernels end: while it runs, warning filters change under whoever builds an app."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while readiness is not None and "pending" in readiness.states.values() and time.monotonic() < deadline:
        time.sleep(0.01)


@contextmanager
def _open_client(app: FastAPI) -> Iterator[httpx.Client]:
    """Enter the application's lifespan and yield a client; every request gets a copy of the lifespan state."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(app.router.lifespan_context(app)) as state,
    ):

        async def with_state(scope: Any, receive: Any, send: Any) -> None:
            scope["state"] = dict(state or {})
            await app(scope, receive, send)

        wait_until_settled((state or {}).get("readiness"))
        with httpx.Client(transport=AppTransport(portal, with_state), base_url="http://localhost") as client:
            yield client


@pytest.fixture
def open_client() -> Iterator[Callable[[FastAPI], httpx.Client]]:
    """A function that opens a client of an application; all are closed when the test ends."""
    with ExitStack() as stack:
        yield lambda app: stack.enter_context(_open_client(app))


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of the whole application, shared by the tests that leave nothing behind that others could mind."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("service") / "data", dispatcher=False)
    with _open_client(create_app(settings)) as client:
        yield client
