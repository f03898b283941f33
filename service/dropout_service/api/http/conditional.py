"""``GET`` answers only what has changed (ETag, ``If-None-Match``, 304), and ``HEAD`` as ``GET`` without the body."""

from __future__ import annotations

import hashlib
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import anyio
from starlette.datastructures import Headers, MutableHeaders

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["ConditionalMiddleware", "matches"]

_DIGEST_BYTES: Final = 16
_NEVER_IN_304: Final = ("content-length", "content-type")
_OF_THIS_MOMENT: Final = frozenset({"/livez", "/readyz"})


class ConditionalMiddleware:
    """Give every complete JSON answer to a ``GET`` a strong ETag, and answer 304 when the client has it.

    The ETag is a digest of the body: it follows from what is answered and from nothing else, so it is right whatever
    has changed, on every replica and after a restart. What an application answers in pieces (downloads, which have
    an ETag of their own, and event streams) passes as it is.

    Parameters
    ----------
    app
        The application inside; it is asked with ``GET`` where the client sent ``HEAD``.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, as ASGI has it."""
        if scope["type"] != "http" or scope["method"] not in {"GET", "HEAD"}:
            await self.app(scope, receive, send)
            return
        with anyio.CancelScope() as answering:
            answer = _Answer(scope, send, answering)
            await self.app({**scope, "method": "GET"}, receive, answer.send)


class _Answer:
    """Passes an answer on; the head of one that gets an ETag is held back for the body, of which that is a digest."""

    def __init__(self, scope: Scope, send: Send, answering: anyio.CancelScope) -> None:
        self._without_body = scope["method"] == "HEAD"
        self._of_this_moment = scope["path"] in _OF_THIS_MOMENT
        self._if_none_match = Headers(scope=scope).get("if-none-match")
        self._send = send
        self._answering = answering
        self._head: Message | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if self._is_to_be_tagged(message):
                self._head = message
            else:  # at once: an event stream may have no body to send for a while
                await self._begin(message)
            return
        head, self._head = self._head, None
        if head is not None:
            if not message.get("more_body", False):
                message = self._tag(head, message)
            await self._begin(head)
        if not self._without_body:
            await self._send(message)

    async def _begin(self, head: Message) -> None:
        await self._send(head)
        if self._without_body:
            await self._send({"type": "http.response.body", "body": b""})
            self._answering.cancel()  # an event stream would go on for as long as its job

    def _is_to_be_tagged(self, head: Message) -> bool:
        headers = Headers(scope=head)
        is_json = headers.get("content-type", "").startswith("application/json")
        return head["status"] == HTTPStatus.OK and is_json and "etag" not in headers and not self._of_this_moment

    def _tag(self, head: Message, message: Message) -> Message:
        headers = MutableHeaders(scope=head)
        etag = f'"{hashlib.sha256(message["body"]).hexdigest()[: 2 * _DIGEST_BYTES]}"'
        headers["ETag"] = etag
        headers["Cache-Control"] = "no-cache"  # kept, but asked about each time
        if not matches(self._if_none_match, etag):
            return message
        head["status"] = HTTPStatus.NOT_MODIFIED.value
        for name in _NEVER_IN_304:
            del headers[name]
        return {**message, "body": b""}


def matches(if_none_match: str | None, etag: str) -> bool:
    """Tell whether the client has the present version (RFC 9110, section 13.1.2: by weak comparison)."""
    if if_none_match is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return etag in tags or "*" in tags
