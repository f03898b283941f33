"""Memory for bodies and answers is bounded for all requests together, not only for each.

A request reserves what its body, and what is made of it, will take, as soon as the length is known, and gives it back
when the answer has left the process. Where there is no room it is refused before anything is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dropout_service.api.http.problems import error_response
from dropout_service.errors import OverloadedError, TooLargeError

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["BytesInFlightMiddleware"]

_FACTOR: Final = 2
"""A body and its answer, which has the same elements."""
_JSON_ELEMENT_BYTES: Final = 80
"""What an element of JSON takes beside its text: as an object in a list and in an array, of the body and the answer.

Measured: 2 x text + 80 x commas is 0.9 to 1.9 times the memory that numbers of 1 to 17 digits take.
"""
_SMALL_BYTES: Final = 1 << 15
_SMALL_JSON_FACTOR: Final = 42
"""Counting commas costs a small call more than it tells: it is taken to be commas by half."""
_JSON_ANSWER_FACTOR: Final = 20
"""A binary body whose answer is to be JSON."""
_BODILESS: Final = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})
_LARGE_BYTES: Final = 1 << 16
"""More than a server takes without looking at whether the client reads."""


class BytesInFlightMiddleware:
    """Refuse a body for which there is no memory now with 503, and one for which there never is with 413.

    Parameters
    ----------
    app
        The application inside.
    max_bytes
        Memory for all bodies and answers together, by ``DROPOUT_SERVICE_MAX_BYTES_IN_FLIGHT``.
    on_disk
        Paths whose bodies go to a disk in pieces.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, on_disk: Collection[str] = ()) -> None:
        self.app = app
        self.max_bytes = max_bytes
        self.on_disk = frozenset(on_disk)
        self.reserved = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, as ASGI has it."""
        if scope["type"] != "http" or scope["method"] in _BODILESS or scope["path"] in self.on_disk:
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        declared = headers.get(b"content-length", b"")
        length = int(declared) if declared.isdigit() else None
        is_small = length is not None and length <= _SMALL_BYTES
        is_json = b"json" in headers.get(b"content-type", b"").lower()
        answers_json = b"json" in headers.get(b"accept", b"").lower()
        counts_elements = is_json and not is_small
        if is_json:
            factor = _SMALL_JSON_FACTOR if is_small else _FACTOR
        else:
            factor = _JSON_ANSWER_FACTOR if answers_json else _FACTOR
        share = _Share(self)

        async def receive_counted() -> Message:
            message = await receive()
            body = message.get("body", b"")
            elements = body.count(b",") if counts_elements else 0
            share.take((factor * len(body) if length is None else 0) + _JSON_ELEMENT_BYTES * elements)
            return message

        async def send_to_the_end(message: Message) -> None:
            size_bytes = len(message.get("body", b""))
            if size_bytes > _LARGE_BYTES:
                share.cover(size_bytes)
                if not message.get("more_body", False):
                    # A server takes the last part and returns at once; before it takes one more it waits for room.
                    await send({**message, "more_body": True})
                    message = {"type": "http.response.body"}
            await send(message)

        try:
            share.take(factor * length if length is not None else 0)
        except (OverloadedError, TooLargeError) as error:
            await error_response(scope, error)(scope, receive, send)
            return
        try:
            await self.app(scope, receive_counted if length is None or counts_elements else receive, send_to_the_end)
        finally:
            share.give_back()


class _Share:
    """What one request has reserved."""

    def __init__(self, all_requests: BytesInFlightMiddleware) -> None:
        self._all = all_requests
        self._reserved = 0

    def take(self, size_bytes: int) -> None:
        """Reserve so many bytes more.

        Raises
        ------
        OverloadedError, TooLargeError
            There is no room now, or never.
        """
        needed, most = self._reserved + size_bytes, self._all.max_bytes
        if needed > most:
            raise TooLargeError(
                f"the body and its answer need about {needed:,} bytes of memory here, and all requests together have "
                f"{most:,} (DROPOUT_SERVICE_MAX_BYTES_IN_FLIGHT); send less at once, and numbers in a binary form"
            )
        if self._all.reserved + size_bytes > most:
            raise OverloadedError(
                f"all requests together have {most:,} bytes of memory (DROPOUT_SERVICE_MAX_BYTES_IN_FLIGHT), of which "
                f"{self._all.reserved:,} are taken, and this one needs {size_bytes:,} more; try again in a moment"
            )
        self._add(size_bytes)

    def cover(self, answer_bytes: int) -> None:
        """Reserve what an answer takes, if it is more; it is there by now, so that only others can be refused."""
        self._add(max(0, answer_bytes - self._reserved))

    def give_back(self) -> None:
        """Reserve nothing any more."""
        self._add(-self._reserved)

    def _add(self, size_bytes: int) -> None:
        self._reserved += size_bytes
        self._all.reserved += size_bytes
