"""Flows: what the client does, without doing it.

Every operation is a generator that yields *effects* (send this request, wait a second) and returns its result.
The two runners of :mod:`dropout_client.transport` perform the effects, one blocking, one awaiting; so each
operation, the retries and the event stream are written once, and can be tested without a network.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from dropout_client.errors import UnexpectedResponseError

__all__ = [
    "Body",
    "Call",
    "Emit",
    "Flow",
    "Pause",
    "Read",
    "Request",
    "Response",
    "SendOnce",
    "Stream",
    "call",
    "read",
    "send",
]

T = TypeVar("T")

Body = bytes | tuple[bytes | memoryview, ...] | Path
"""What a request carries: bytes, in one or several parts, or a file that is read anew in every attempt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """An effect: send this, again if need be, and answer with a :class:`Response` of a good status.

    Parameters
    ----------
    method, path
        The operation; the path is relative to the service's address.
    params
        The query; entries that are ``None`` are left out.
    headers
        Additional headers.
    body
        The content, if any.
    stream
        Leave the content of the answer to :class:`Read`.
    timeout_s
        Longest silence on the connection, where the client has no time-out of its own.
    patience_s
        Seconds that the service was asked to hold its answer back; added to the time-out.
    repeat_after_timeout
        Whether to send it again when it was not answered in time; not what the service may still be computing.
    """

    method: str
    path: str
    params: Mapping[str, str | int | float | bool | list[str] | None] = field(default_factory=dict[str, Any])
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: Body | None = None
    stream: bool = False
    timeout_s: float = 60.0
    patience_s: float = 0.0
    repeat_after_timeout: bool = True


@dataclass(frozen=True, slots=True)
class Response:
    """An answer, whatever its status; header names are in lower case."""

    status_code: int
    headers: Mapping[str, str]
    content: bytearray

    def json(self) -> dict[str, Any]:
        """Read the content as a JSON object."""
        try:
            document = json.loads(self.content)
        except ValueError as error:
            raise self._unexpected() from error
        if not isinstance(document, dict):
            raise self._unexpected()
        return document

    def _unexpected(self) -> UnexpectedResponseError:
        kind = self.headers.get("content-type", "no content type")
        start = bytes(self.content[:80]).decode(errors="replace")
        return UnexpectedResponseError(
            f"expected a JSON object, got {kind}: {start!r}. Is the address that of a dropout service?"
        )


@dataclass(frozen=True, slots=True)
class SendOnce:
    """An effect: send the request once and answer with the :class:`Response`, whatever its status.

    Parameters
    ----------
    request
        What to send.
    timeout_s
        Longest silence on the connection.
    deadline
        The moment of the monotonic clock at which the attempt is given up.
    """

    request: Request
    timeout_s: float
    deadline: float | None


@dataclass(frozen=True, slots=True)
class Pause:
    """An effect: let this many seconds pass."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Read:
    """An effect: answer with the next part of the streamed response, empty at its end."""


@dataclass(frozen=True, slots=True)
class Call:
    """An effect: call a function that takes time, such as one that writes a file, and answer with what it returns."""

    function: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Emit(Generic[T]):
    """An item for whoever iterates the flow."""

    item: T


Effect = Request | SendOnce | Pause | Read | Call
Flow = Generator[Effect, Any, T]
"""An operation that ends in a result."""
Stream = Generator[Effect | Emit[T], Any, None]
"""An operation that gives items as it goes."""


def send(request: Request) -> Flow[Response]:
    """Send a request; typed, where a bare ``yield`` is not."""
    response: Response = yield request
    return response


def read() -> Flow[bytes]:
    """Read the next part of the streamed response; typed, where a bare ``yield`` is not."""
    chunk: bytes = yield Read()
    return chunk


def call(function: Callable[[], T]) -> Flow[T]:
    """Call a function that takes time; typed, where a bare ``yield`` is not."""
    result: T = yield Call(function)
    return result
