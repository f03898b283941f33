from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from dropout_service.api.http.bytes_in_flight import BytesInFlightMiddleware
from dropout_service.errors import OverloadedError, TooLargeError

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST = 10_000_000
FACTOR = 2
"""What the memory of a body is reckoned as, in its length."""
ELEMENT = 80
"""What each element of JSON is reckoned as beside that."""
SMALL_JSON_FACTOR = 42
"""What a body of up to 32 KiB of JSON is reckoned as, in its length."""


class Service:
    """An application behind the middleware: it reads a body, waits until it may go on, and answers."""

    def __init__(self, answer_bytes: int = 10) -> None:
        self.reading = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.reserved_while_sending: list[int] = []
        self.answer_bytes = answer_bytes
        self.middleware = BytesInFlightMiddleware(self._answer, MOST, on_disk=["/disk"])

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        body = await Request(scope, receive).body()
        self.reading.set()
        await self.go_on.wait()
        if body.startswith(b"fail"):
            raise ZeroDivisionError
        await Response(b"x" * self.answer_bytes)(scope, receive, send)

    async def post(
        self,
        *chunks: bytes,
        path: str = "/memory",
        declared: bool = True,
        content_type: str = "application/x-npy",
        accept: str = "*/*",
    ) -> list[dict[str, Any]]:
        """Return the messages of the answer. A body without chunks is one that its sender gives up."""
        headers = [(b"content-type", content_type.encode()), (b"accept", accept.encode())]
        if declared:
            headers.append((b"content-length", str(sum(map(len, chunks)) or MOST // FACTOR).encode()))
        left = list(chunks)
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            if not left:
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

        async def send(message: Any) -> None:
            sent.append(message)
            self.reserved_while_sending.append(self.middleware.reserved)

        scope: Any = {"type": "http", "method": "POST", "path": path, "headers": headers, "state": {}}
        await self.middleware(scope, receive, send)
        return sent


def status(messages: Sequence[dict[str, Any]]) -> int:
    return messages[0]["status"]


def header(messages: Sequence[dict[str, Any]], name: bytes) -> bytes | None:
    return dict(messages[0]["headers"]).get(name)


async def outstanding(service: Service, *chunks: bytes, **more: Any) -> asyncio.Task[Any]:
    """Let a request get so far that its body is read."""
    service.go_on.clear()
    service.reading.clear()
    task = asyncio.create_task(service.post(*chunks, **more))
    async with asyncio.timeout(10):
        await service.reading.wait()
    return task


@pytest.mark.parametrize(
    ("declared", "content_type", "reserved"),
    [
        (True, "application/x-npy", FACTOR * 9),
        (False, "application/x-npy", FACTOR * 9),
        (True, "application/json", SMALL_JSON_FACTOR * 9),
        (False, "application/json", FACTOR * 9 + ELEMENT * 3),
    ],
)
def test_a_body_is_reckoned_until_its_answer_is_sent(declared: bool, content_type: str, reserved: int):  # noqa: FBT001
    async def main() -> None:
        service = Service()
        task = await outstanding(service, b"[1,2,", b"3,4]", declared=declared, content_type=content_type)
        assert service.middleware.reserved == reserved
        service.go_on.set()
        assert status(await task) == 200
        assert set(service.reserved_while_sending) == {reserved}
        assert service.middleware.reserved == 0

    asyncio.run(main())


def test_what_finds_no_room_is_refused_before_it_is_read():
    async def main() -> None:
        service = Service()
        first = await outstanding(service, bytes(MOST // FACTOR - 10))
        refused = await service.post(b"x" * 11)
        assert status(refused) == 503
        assert header(refused, b"retry-after") == b"2"
        problem = json.loads(refused[1]["body"])
        assert problem["type"] == "urn:dropout-service:problem:overloaded"
        assert "DROPOUT_SERVICE_MAX_BYTES_IN_FLIGHT" in problem["detail"]
        service.go_on.set()
        assert status(await service.post(b"x" * 5)) == 200, "a small one finds room"
        assert status(await first) == 200
        assert status(await service.post(b"x" * 11)) == 200

    asyncio.run(main())


@pytest.mark.parametrize(("accept", "factor"), [("*/*", FACTOR), ("application/json", 20)])
def test_what_never_finds_room_is_too_large(accept: str, factor: int):
    async def main() -> None:
        service = Service()
        refused = await service.post(bytes(MOST // factor + 1), accept=accept)
        assert (status(refused), header(refused, b"connection")) == (413, b"close")
        assert "DROPOUT_SERVICE_MAX_BYTES_IN_FLIGHT" in json.loads(refused[1]["body"])["detail"]
        assert status(await service.post(bytes(MOST // factor), accept=accept)) == 200

    asyncio.run(main())


@pytest.mark.parametrize(
    ("part", "more"),
    [
        (bytes(MOST // 8), {"declared": False}),
        (b"1," * (MOST // 336), {"content_type": "application/json"}),
    ],
    ids=["without a length", "of many elements"],
)
def test_what_a_body_shows_only_as_it_comes_is_reckoned_then(part: bytes, more: dict[str, Any]):
    async def main() -> None:
        service = Service()
        assert status(await service.post(*[part] * 3, **more)) == 200
        with pytest.raises(TooLargeError):
            await service.post(*[part] * 5, **more)
        first = await outstanding(service, bytes(MOST // 4))
        with pytest.raises(OverloadedError):
            await service.post(*[part] * 3, **more)
        service.go_on.set()
        assert status(await first) == 200
        assert service.middleware.reserved == 0

    asyncio.run(main())


def test_all_is_given_back_however_a_request_ends():
    async def main() -> None:
        service = Service()
        with pytest.raises(ZeroDivisionError):
            await service.post(b"fail")
        with pytest.raises(ClientDisconnect):
            await service.post()
        cancelled = await outstanding(service, bytes(MOST // FACTOR))
        cancelled.cancel()
        await asyncio.wait({cancelled})
        assert service.middleware.reserved == 0

    asyncio.run(main())


def test_a_large_answer_is_reckoned_and_its_last_part_is_empty():
    async def main() -> None:
        service = Service(answer_bytes=300_000)
        messages = await service.post(b"small")
        assert [len(message.get("body", b"")) for message in messages[1:]] == [300_000, 0]
        assert [message.get("more_body", False) for message in messages[1:]] == [True, False]
        assert service.reserved_while_sending[1:] == [300_000, 300_000], "until the server has room for another part"
        assert service.middleware.reserved == 0

    asyncio.run(main())


def test_what_goes_to_the_disk_does_not_count():
    async def main() -> None:
        assert status(await Service().post(bytes(2 * MOST), path="/disk")) == 200

    asyncio.run(main())
