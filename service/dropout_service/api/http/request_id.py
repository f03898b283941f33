"""Every answer carries an ``X-Request-ID``, and an unexpected error is answered with it and nothing else."""

from __future__ import annotations

import logging
import re
from secrets import token_hex
from typing import TYPE_CHECKING, Final

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect

from dropout_service.api.http.problems import Problem, problem_response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["RequestIdMiddleware"]

_SANE: Final = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")

logger = logging.getLogger(__name__)


class RequestIdMiddleware:
    """Name each request, by the client's ``X-Request-ID`` if it is sane.

    An exception that nothing else caught ends here: it is logged in full, and the client learns the name to
    quote. Inside the server's own error handling, whose answers would not carry the header.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, as ASGI has it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        request_id = given.decode("ascii") if _SANE.fullmatch(given) else token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id
        started = False

        async def send_named(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        try:
            await self.app(scope, receive, send_named)
        except ClientDisconnect:  # nobody is there to be answered
            logger.info("request %s: the client went away", request_id)
        except Exception:
            logger.exception("request %s failed: %s %s", request_id, scope["method"], scope["path"])
            if started:
                raise  # the server then cuts the connection, so that half an answer is not taken for a whole
            response = problem_response(
                scope,
                code="internal-error",
                problem=Problem(500, "The service failed"),
                detail=f"This is a fault of the service, not of the request. The log has it under {request_id}.",
            )
            await response(scope, receive, send_named)
