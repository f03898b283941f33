"""``Connection``: uvicorn's connection, with limits of time for what a client sends, and of their number.

uvicorn (0.54) closes a connection that waits for its next request, and nothing else: one that sends its headers or its
body byte by byte stays open, as does one that never sends anything, and neither the headers nor the connections are
bounded. Timers for each request would cost every one of them; instead `look_after`, a few times a second, looks at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from dropout_service.api.http.problems import Problem, problem_response
from dropout_service.errors import OverloadedError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable, Mapping

__all__ = ["Connection", "ConnectionLimits", "look_after"]

_MEAN_OF_S: Final = 10.0
"""Seconds over which the rate of a body is a mean: a network may stall for a moment."""
_HEAD_BYTES: Final = 1 << 16
"""Headers above this are refused; other servers draw the line between 8 and 64 KiB."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What clients together, and each of them, may do to a server.

    Parameters
    ----------
    connections
        Connections at the same time.
    headers_s
        Seconds for the headers of a request, from their first byte; of a new connection, from its beginning.
    body_rate
        Bytes of a body that have to come each second, and of an answer that have to be read.
    answer_s
        Seconds over which the rate of an answer is a mean.
    """

    connections: int
    headers_s: float
    body_rate: int
    answer_s: float


class Connection(HttpToolsProtocol):
    """A connection that ends when its client is too slow, and is refused when there are too many.

    One that waits for its next request makes room for a new one.
    """

    def __init__(self, *arguments: Any, limits: ConnectionLimits, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._limits = limits
        self._head_since: float | None = None
        self._head_bytes = 0
        self._body_since: float | None = None
        self._body_bytes = 0
        self._unread_since: float | None = None
        self._unread_bytes = 0

    # --- what uvicorn and its parser call

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begin, or refuse to."""
        super().connection_made(transport)
        self._head_since = self.loop.time()
        if len(self.connections) > self._limits.connections and not self._make_room():
            self._refuse(
                HTTPStatus.SERVICE_UNAVAILABLE,
                OverloadedError.code,
                f"{self._limits.connections} connections are open, the most that DROPOUT_SERVICE_MAX_CONNECTIONS "
                "allows; try again in a moment",
                {"Retry-After": str(OverloadedError.retry_after_s)},
            )

    def data_received(self, data: bytes) -> None:
        """Take bytes of a head, a body, or both."""
        if self.transport.is_closing():  # refused
            return
        if self._head_since is None and self._body_since is None:
            self._head_since = self.loop.time()
        super().data_received(data)
        if self._head_since is not None:
            self._head_bytes += len(data)
            if self._head_bytes > _HEAD_BYTES:
                self._refuse(
                    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                    "headers-too-large",
                    f"the headers are longer than {_HEAD_BYTES:,} bytes",
                )

    def on_headers_complete(self) -> None:
        """Begin the request, and its body."""
        self._head_since, self._head_bytes = None, 0
        super().on_headers_complete()
        self._body_since, self._body_bytes = self.loop.time(), 0

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End the body."""
        self._body_since = None
        super().on_message_complete()

    def resume_writing(self) -> None:
        """Let the application write on: the client has read."""
        self._unread_since = None
        super().resume_writing()

    # --- limits

    def look_at(self, now: float) -> None:
        """Cut the client off if it is too slow."""
        self._look_at_answer(now)
        if self.transport.is_closing():
            return
        cycle = cast("Any", self.cycle)  # None before the first request
        if self._head_since is not None and cycle is not None and not cycle.response_complete:
            self._head_since = now  # what comes next waits for the answer under way
        elif self._head_since is not None and now - self._head_since > self._limits.headers_s:
            if not self._head_bytes:  # nothing was asked
                self.transport.close()
            self._refuse(
                HTTPStatus.REQUEST_TIMEOUT,
                "request-timeout",
                f"the headers did not come within {self._limits.headers_s:g} seconds "
                "(DROPOUT_SERVICE_HEADERS_TIMEOUT_S)",
            )
        elif self._body_since is not None:
            if self.flow.read_paused or self.cycle.waiting_for_100_continue:  # it waits for us
                self._body_since, self._body_bytes = now, 0
            elif now - self._body_since >= _MEAN_OF_S:
                if self._body_bytes < self._limits.body_rate * _MEAN_OF_S:
                    self._refuse(
                        HTTPStatus.REQUEST_TIMEOUT,
                        "request-timeout",
                        f"the body came with fewer than {self._limits.body_rate} bytes a second "
                        "(DROPOUT_SERVICE_MIN_BODY_RATE)",
                    )
                self._body_since, self._body_bytes = now, 0

    def _look_at_answer(self, now: float) -> None:
        """End the connection at once if hardly anything of an answer is read; closing it would wait for that."""
        left_bytes = self.transport.get_write_buffer_size() if self.flow.write_paused else 0
        if not left_bytes:
            return
        if self._unread_since is not None and now - self._unread_since < self._limits.answer_s:
            return
        # Whoever writes waits meanwhile, so that what is left only becomes less.
        read_bytes = self._unread_bytes - left_bytes
        if self._unread_since is not None and read_bytes < self._limits.body_rate * self._limits.answer_s:
            self.transport.abort()
        self._unread_since, self._unread_bytes = now, left_bytes

    @property
    def idle_until(self) -> float | None:
        """When uvicorn closes this connection unless the next request comes; ``None`` where there is a request."""
        timer = self.timeout_keep_alive_task
        return None if timer is None or self.transport.is_closing() else timer.when()

    def _make_room(self) -> bool:
        """Close the connection that waits for its next request the longest, if there is one."""
        idle = [
            (until, connection)
            for connection in self.connections
            if isinstance(connection, Connection) and (until := connection.idle_until) is not None
        ]
        if not idle:
            return False
        _, longest = min(idle, key=itemgetter(0))
        longest.transport.close()
        return True

    def _refuse(self, status: HTTPStatus, code: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        """Close the connection, with a problem unless an answer has begun; a request under way learns of its end."""
        if self.transport.is_closing():
            return
        cycle = cast("Any", self.cycle)  # None before the first request
        if cycle is None or cycle.response_complete or not cycle.response_started:
            answer = problem_response(
                {"path": "", **(self.scope or {})},
                code=code,
                problem=Problem(status.value, status.phrase),
                detail=detail,
                headers={**(headers or {}), "Connection": "close"},
            )
            head = [STATUS_LINE[status], *(b"%s: %s\r\n" % header for header in answer.raw_headers), b"\r\n"]
            self.transport.write(b"".join(head) + bytes(answer.body))
        self.transport.close()


def look_after(connections: Iterable[Any], now: float) -> None:
    """Cut off every client that is too slow.

    Parameters
    ----------
    connections
        Those of the server.
    now
        The event loop's time.
    """
    for connection in list(connections):
        if isinstance(connection, Connection):
            connection.look_at(now)
