"""Bodies above the limit are refused, before they are read where their length is declared.

FastAPI's own ``max_body_size`` does the same counting, but answers a declared length in plain text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from starlette.exceptions import HTTPException

from dropout_service.api.http.media_types import JSON
from dropout_service.api.http.problems import PROBLEMS, problem_response
from dropout_service.errors import Excess, TooLargeError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["BodyLimit", "BodyLimitMiddleware"]

_UNREAD: Final = {"Connection": "close"}
"""The body stays unread, so the connection cannot carry another request; the server would read on to find its end."""


class BodyLimit(NamedTuple):
    """The bytes of a body at most, and the setting that says so."""

    setting: str
    max_bytes: int


class BodyLimitMiddleware:
    """Refuse large bodies with 413.

    Parameters
    ----------
    app
        The application inside.
    limit
        That of every body.
    json_limit
        That of JSON, which takes a multiple of its size in memory.
    by_path
        Another limit for some paths, whatever the body is.
    """

    def __init__(
        self, app: ASGIApp, limit: BodyLimit, json_limit: BodyLimit, by_path: Mapping[str, BodyLimit] | None = None
    ) -> None:
        self.app = app
        self.limit = limit
        self.json_limit = min(json_limit, limit, key=lambda one: one.max_bytes)
        self.by_path = dict(by_path or {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, as ASGI has it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        setting, max_bytes = self._limit_of(scope)
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), None)
        if declared is not None and declared.isdigit():
            if int(declared) > max_bytes:
                response = problem_response(
                    scope,
                    code=TooLargeError.code,
                    problem=PROBLEMS[TooLargeError],
                    detail=f"the body has {int(declared):,} bytes; this operation takes at most {max_bytes:,} "
                    f"({setting})",
                    excess=Excess(setting, max_bytes, int(declared)),
                    headers=_UNREAD,
                )
                await response(scope, receive, send)
            else:
                await self.app(scope, receive, send)
            return
        received = 0

        async def receive_counted() -> Message:
            nonlocal received
            message = await receive()
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                if received > max_bytes:
                    # The one error that FastAPI lets pass while it reads a body.
                    raise HTTPException(
                        413,
                        f"the body goes on after {max_bytes:,} bytes, the most that this operation takes ({setting})",
                        headers=_UNREAD,
                    )
            return message

        await self.app(scope, receive_counted, send)

    def _limit_of(self, scope: Scope) -> BodyLimit:
        limit = self.by_path.get(scope["path"])
        if limit is not None:
            return limit
        media_type = next((value for name, value in scope["headers"] if name == b"content-type"), b"")
        return self.json_limit if media_type[: len(JSON)].lower() == JSON.encode() else self.limit
