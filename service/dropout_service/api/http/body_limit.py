"""Bodies above the limit are refused, before they are read where their length is declared.

FastAPI's own ``max_body_size`` does the same counting, but answers a declared length in plain text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException

from dropout_service.api.http.problems import PROBLEMS, problem_response
from dropout_service.errors import TooLargeError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["BodyLimitMiddleware"]

_UNREAD: Final = {"Connection": "close"}
"""The body stays unread, so the connection cannot carry another request; the server would read on to find its end."""


class BodyLimitMiddleware:
    """Refuse large bodies with 413.

    Parameters
    ----------
    app
        The application inside.
    max_bytes
        Largest body.
    by_path
        Another limit for some paths.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, by_path: Mapping[str, int] | None = None) -> None:
        self.app = app
        self.max_bytes = max_bytes
        self.by_path = dict(by_path or {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, as ASGI has it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        max_bytes = self.by_path.get(scope["path"], self.max_bytes)
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), None)
        if declared is not None and declared.isdigit():
            if int(declared) > max_bytes:
                response = problem_response(
                    scope,
                    code=TooLargeError.code,
                    problem=PROBLEMS[TooLargeError],
                    detail=f"the body has {int(declared):,} bytes; this operation takes at most {max_bytes:,}",
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
                        f"the body goes on after {max_bytes:,} bytes, the most that this operation takes",
                        headers=_UNREAD,
                    )
            return message

        await self.app(scope, receive_counted, send)
