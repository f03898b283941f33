"""A server that misbehaves as told, on a real socket; and one way to call the blocking and the awaiting client."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from dropout_client import AsyncClient, Client

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True)
class Received:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Stub:
    """Answers each request with the next reply of its script, and remembers the requests."""

    url: str = ""
    script: list[Callable[[BaseHTTPRequestHandler], None]] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    def answer(self, status: int, content: object = None, **headers: str) -> None:
        """Script a complete answer; ``content`` is JSON, or bytes."""
        body = content if isinstance(content, bytes) else json.dumps(content).encode()

        def reply(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(status)
            known = {"Content-Type": "application/json", "Content-Length": str(len(body))}
            for name, value in (known | {name.replace("_", "-"): value for name, value in headers.items()}).items():
                handler.send_header(name, value)
            handler.end_headers()
            handler.wfile.write(body)

        self.script.append(reply)

    def drop(self) -> None:
        """Script a connection that is closed without an answer."""
        self.script.append(lambda _: None)

    def hang(self) -> None:
        """Script an answer that does not come."""
        self.script.append(lambda _: self.stopping.wait() and None)


@pytest.fixture
def stub() -> Iterator[Stub]:
    told = Stub()

    class Handler(BaseHTTPRequestHandler):
        def reply(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            told.received.append(
                Received(self.command, self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            )
            told.script.pop(0)(self)

        do_GET = do_POST = do_DELETE = reply  # noqa: N815  # names of the base class

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    told.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield told
    finally:
        told.stopping.set()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(params=["blocking", "awaiting"])
def call(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Call ``operation(client)`` with either client and give its result; an iterator gives the list of its items."""
    return _block if request.param == "blocking" else _await


def _block(operation: Callable[[Any], Any], **arguments: Any) -> Any:
    with Client(**arguments) as client:
        result = operation(client)
        return list(result) if hasattr(result, "__next__") else result


def _await(operation: Callable[[Any], Any], **arguments: Any) -> Any:
    async def run() -> Any:
        async with AsyncClient(**arguments) as client:
            result = operation(client)
            return [item async for item in result] if isinstance(result, AsyncIterator) else await result

    return asyncio.run(run())
