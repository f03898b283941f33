"""Large bodies, in and out, without needless copies."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from starlette.responses import Response

from dropout_service.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

__all__ = ["PartsResponse", "declared_length", "read_buffer"]


def declared_length(request: Request) -> float:
    """Return the length of the body in bytes by its ``Content-Length``; infinity without one."""
    declared = request.headers.get("content-length", "")
    return int(declared) if declared.isascii() and declared.isdigit() else math.inf


async def read_buffer(request: Request) -> memoryview:
    """Read the body into one writable buffer: what is computed from it may be computed in its place.

    A declared length is taken at once (the body limit has bounded it) and filled as the chunks come; the pages of
    what never comes are never touched.
    """
    declared = declared_length(request)
    if declared == math.inf:
        return await _read_growing(request)
    buffer = np.empty(int(declared), np.uint8).data
    at = 0
    async for chunk in request.stream():
        end = at + len(chunk)
        if end > len(buffer):
            raise InvalidInputError.at("", f"the body is longer than its Content-Length of {len(buffer)} bytes")
        buffer[at:end] = chunk
        at = end
    return buffer[:at]


async def _read_growing(request: Request) -> memoryview:
    buffer = bytearray()
    async for chunk in request.stream():
        buffer += chunk
    return memoryview(buffer)


class PartsResponse(Response):
    """A body in parts that are sent one after the other, so that an array needs no copy behind its header."""

    def __init__(
        self, parts: Sequence[bytes | memoryview], *, media_type: str, headers: Mapping[str, str] | None = None
    ) -> None:
        size_bytes = sum(len(part) for part in parts)
        super().__init__(headers={**(headers or {}), "Content-Length": str(size_bytes)}, media_type=media_type)
        self.parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        """Send the answer, as ASGI has it."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for part in self.parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
