"""The two runners that perform a flow's effects over httpx: one blocking, one awaiting.

They differ in nothing but ``await``; whatever decides something is in :mod:`dropout_client.flows`,
:mod:`dropout_client.retries` or the operations themselves.
"""

from __future__ import annotations

import platform
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import anyio
import httpx

from dropout_client.errors import APIConnectionError, APITimeoutError, DropoutError
from dropout_client.flows import Call, Emit, Pause, Read, Request, Response, SendOnce
from dropout_client.retries import attempts
from dropout_client.version import __version__

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator, Iterator
    from types import TracebackType

    from dropout_client.flows import Body, Effect, Flow, Stream
    from dropout_client.retries import Options

__all__ = ["AsyncRunner", "Runner"]

T = TypeVar("T")

_CHUNK_BYTES = 1 << 18
_CONNECT_TIMEOUT_S = 10.0
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
USER_AGENT = f"dropout-client/{__version__} python/{platform.python_version()} httpx/{httpx.__version__}"


class Runner:
    """Perform flows, blocking.

    Parameters
    ----------
    http
        The connection pool.
    options
        How patient to be.
    """

    def __init__(self, http: httpx.Client, options: Options) -> None:
        self.http = http
        self.options = options

    def run(self, flow: Flow[T]) -> T:
        """Perform a flow and return its result."""
        with closing(flow), _Exchange(self) as exchange:
            while isinstance(step := exchange.advance(flow), Emit):
                pass
            return step.result

    def iterate(self, stream: Stream[T]) -> Iterator[T]:
        """Perform a stream, giving its items as they come."""
        with closing(stream), _Exchange(self) as exchange:
            while isinstance(step := exchange.advance(stream), Emit):
                yield step.item

    def close(self) -> None:
        """Close the connections."""
        self.http.close()


class AsyncRunner:
    """Perform flows, awaiting.

    Parameters
    ----------
    http
        The connection pool.
    options
        How patient to be.
    """

    def __init__(self, http: httpx.AsyncClient, options: Options) -> None:
        self.http = http
        self.options = options

    async def run(self, flow: Flow[T]) -> T:
        """Perform a flow and return its result."""
        with closing(flow):
            async with _AsyncExchange(self) as exchange:
                while isinstance(step := await exchange.advance(flow), Emit):
                    pass
                return step.result

    async def iterate(self, stream: Stream[T]) -> AsyncIterator[T]:
        """Perform a stream, giving its items as they come."""
        with closing(stream):
            async with _AsyncExchange(self) as exchange:
                while isinstance(step := await exchange.advance(stream), Emit):
                    yield step.item

    async def close(self) -> None:
        """Close the connections."""
        await self.http.aclose()


@dataclass(frozen=True, slots=True)
class _Done:
    result: Any


class _Exchange:
    """One flow's conversation with the service; keeps the answer that is being streamed."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._streamed: httpx.Response | None = None
        self._chunks: Iterator[bytes] = iter(())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close()

    def advance(self, flow: Stream[Any] | Flow[Any]) -> Emit[Any] | _Done:
        value: Any = None
        error: DropoutError | None = None
        while True:
            try:
                effect = flow.send(value) if error is None else flow.throw(error)
            except StopIteration as stop:
                return _Done(stop.value)
            if isinstance(effect, Emit):
                return effect
            value = error = None
            try:
                value = self._perform(effect)
            except DropoutError as fault:
                error = fault

    def _perform(self, effect: Effect) -> Any:
        match effect:
            case Request():
                step = self.advance(attempts(effect, self._runner.options))
                return step.result if isinstance(step, _Done) else None
            case SendOnce():
                return self._send_once(effect)
            case Pause():
                return time.sleep(effect.seconds)
            case Read():
                with _translated():
                    return next(self._chunks, b"")
            case Call():
                return effect.function()

    def _send_once(self, attempt: SendOnce) -> Response:
        self._close()
        with _translated(), _Content(attempt.request) as content:
            response = self._runner.http.send(_build(self._runner.http, attempt, content.blocking()), stream=True)
            self._streamed = response
            self._chunks = response.iter_bytes()
            if attempt.request.stream and response.is_success:
                return _response(response, bytearray())
            received = bytearray()
            for chunk in self._chunks:
                received += chunk
                _check(attempt.deadline)
            self._close()
            return _response(response, received)

    def _close(self) -> None:
        if self._streamed is not None:
            self._streamed.close()
            self._streamed = None


class _AsyncExchange:
    """As :class:`_Exchange`, awaiting."""

    def __init__(self, runner: AsyncRunner) -> None:
        self._runner = runner
        self._streamed: httpx.Response | None = None
        self._chunks: AsyncIterator[bytes] = _nothing()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._close()

    async def advance(self, flow: Stream[Any] | Flow[Any]) -> Emit[Any] | _Done:
        value: Any = None
        error: DropoutError | None = None
        while True:
            try:
                effect = flow.send(value) if error is None else flow.throw(error)
            except StopIteration as stop:
                return _Done(stop.value)
            if isinstance(effect, Emit):
                return effect
            value = error = None
            try:
                value = await self._perform(effect)
            except DropoutError as fault:
                error = fault

    async def _perform(self, effect: Effect) -> Any:
        match effect:
            case Request():
                step = await self.advance(attempts(effect, self._runner.options))
                return step.result if isinstance(step, _Done) else None
            case SendOnce():
                return await self._send_once(effect)
            case Pause():
                return await anyio.sleep(effect.seconds)
            case Read():
                with _translated():
                    return await anext(self._chunks, b"")
            case Call():
                return await anyio.to_thread.run_sync(effect.function)

    async def _send_once(self, attempt: SendOnce) -> Response:
        await self._close()
        with _translated(), _Content(attempt.request) as content:
            response = await self._runner.http.send(_build(self._runner.http, attempt, content.awaiting()), stream=True)
            self._streamed = response
            self._chunks = response.aiter_bytes()
            if attempt.request.stream and response.is_success:
                return _response(response, bytearray())
            received = bytearray()
            async for chunk in self._chunks:
                received += chunk
                _check(attempt.deadline)
            await self._close()
            return _response(response, received)

    async def _close(self) -> None:
        if self._streamed is not None:
            await self._streamed.aclose()
            self._streamed = None


class _Content:
    """A request's body, opened anew for each attempt."""

    def __init__(self, request: Request) -> None:
        self._body = request.body
        self._file = self._body.open("rb") if isinstance(self._body, Path) else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def blocking(self) -> bytes | Iterator[bytes] | None:
        match self._body:
            case None | bytes():
                return self._body
            case Path():
                return iter(self._read, b"")
            case parts:
                return _whole(parts) or _slices(parts)

    def awaiting(self) -> bytes | AsyncIterator[bytes] | None:
        match self._body:
            case None | bytes():
                return self._body
            case Path():
                return self._read_in_thread()
            case parts:
                return _whole(parts) or _as_async(_slices(parts))

    async def _read_in_thread(self) -> AsyncIterator[bytes]:
        while chunk := await anyio.to_thread.run_sync(self._read):
            yield chunk

    def _read(self) -> bytes:
        return self._file.read(_CHUNK_BYTES) if self._file is not None else b""


def _whole(parts: tuple[bytes | memoryview, ...]) -> bytes | None:
    """Join the parts of a small body: one packet is cheaper than several."""
    return b"".join(parts) if sum(map(len, parts)) <= _CHUNK_BYTES else None


def _slices(parts: tuple[bytes | memoryview, ...]) -> Iterator[bytes]:
    """Cut the parts into pieces that stay in the processor's cache on their way; no large copy is made."""
    for part in parts:
        for start in range(0, len(part), _CHUNK_BYTES):
            yield bytes(part[start : start + _CHUNK_BYTES])


async def _as_async(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


def _size(body: Body | None) -> int | None:
    """Length of a body that is given in pieces; httpx would send it chunked, without a length."""
    match body:
        case None | bytes():
            return None
        case Path():
            return body.stat().st_size
        case parts:
            return sum(map(len, parts))


def _build(
    http: httpx.Client | httpx.AsyncClient,
    attempt: SendOnce,
    content: bytes | Iterator[bytes] | AsyncIterator[bytes] | None,
) -> httpx.Request:
    request = attempt.request
    headers = {"User-Agent": USER_AGENT, **request.headers}
    if (size := _size(request.body)) is not None:
        headers["Content-Length"] = str(size)
    return http.build_request(
        request.method,
        request.path,
        params={name: value for name, value in request.params.items() if value is not None},
        headers=headers,
        content=content,
        timeout=httpx.Timeout(attempt.timeout_s, connect=min(attempt.timeout_s, _CONNECT_TIMEOUT_S)),
    )


def _response(response: httpx.Response, content: bytearray) -> Response:
    return Response(response.status_code, {name.lower(): value for name, value in response.headers.items()}, content)


def _check(deadline: float | None) -> None:
    if deadline is not None and time.monotonic() > deadline:
        raise APITimeoutError("the total time-out was over before the answer was complete")


@contextmanager
def _translated() -> Generator[None]:
    """Turn httpx's errors into the client's."""
    try:
        yield
    except httpx.RequestError as error:
        where = f"{error.request.method} {error.request.url.copy_with(query=None)}"
        reason = str(error) or type(error).__name__
        arrived = not isinstance(error, _NOT_SENT)
        if isinstance(error, httpx.TimeoutException):
            message = f"{where} was not answered in time: {reason}"
            raise APITimeoutError(message, may_have_arrived=arrived) from error
        hint = "; is the service running there?" if isinstance(error, httpx.ConnectError) else ""
        raise APIConnectionError(f"{where}: {reason}{hint}", may_have_arrived=arrived) from error


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""
