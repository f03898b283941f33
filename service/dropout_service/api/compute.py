"""``ComputePool``: requests that compute for long have threads of their own, and a queue with an end.

All else that a request does in a thread (a read of the database, say) takes one of the server's common threads, of
which computations would leave none.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from contextlib import contextmanager
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.requests import ClientDisconnect

from dropout_service.errors import OverloadedError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from starlette.requests import Request

__all__ = ["ComputePool", "Place"]

T = TypeVar("T")


class _Computation:
    """What a place has to compute, and where the outcome goes: a value, or an error."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self.work = work
        self.loop = asyncio.get_running_loop()
        self.outcome: asyncio.Future[tuple[Any, BaseException | None]] = self.loop.create_future()


class ComputePool:
    """Threads for computations, which begin in the order in which they were asked for.

    All methods are called on the event loop. The threads are daemons: an interpreter waits for all others before it
    ends, and a computation may go on for longer than the server has for its end.

    Parameters
    ----------
    threads
        Computations at the same time.
    queue
        Requests with a place beyond those; further ones are refused.
    """

    def __init__(self, threads: int, queue: int) -> None:
        self._threads = threads
        self._places = threads + queue
        self._taken = 0
        self._running = 0
        self._started = 0
        self._waiting: deque[_Computation] = deque()
        self._inbox: SimpleQueue[_Computation | None] = SimpleQueue()

    @contextmanager
    def place(self) -> Generator[Place]:
        """Take a place before anything of the request is read. Who has one is computed, however long it takes.

        Raises
        ------
        OverloadedError
            There is none.
        """
        if self._taken >= self._places:
            raise OverloadedError(
                f"{self._taken} requests compute or wait for it, the most that DROPOUT_SERVICE_COMPUTE_THREADS and "
                "DROPOUT_SERVICE_COMPUTE_QUEUE allow together; try again in a moment"
            )
        self._taken += 1
        try:
            yield Place(self)
        finally:
            self._taken -= 1

    def begin(self, computation: _Computation) -> None:
        """Let a thread compute it, as soon as one has time."""
        if self._running == self._threads:
            self._waiting.append(computation)
            return
        self._running += 1
        if self._started < self._running:
            self._started += 1
            threading.Thread(target=self._serve, name=f"compute-{self._started}", daemon=True).start()
        self._inbox.put(computation)

    def close(self) -> None:
        """Let the threads end once they have nothing to compute; nobody waits for them."""
        for _ in range(self._started):
            self._inbox.put(None)

    def forget(self, computation: _Computation) -> None:
        """Drop a computation that has not begun."""
        if computation in self._waiting:
            self._waiting.remove(computation)
            self._tell(computation, None, ClientDisconnect())

    def _ended(self, computation: _Computation, value: Any, error: BaseException | None) -> None:
        self._tell(computation, value, error)
        self._running -= 1
        if self._waiting:
            self.begin(self._waiting.popleft())

    @staticmethod
    def _tell(computation: _Computation, value: Any, error: BaseException | None) -> None:
        if not computation.outcome.done():  # otherwise the server ends, and nobody listens
            computation.outcome.set_result((value, error))

    def _serve(self) -> None:
        while self._compute(self._inbox.get()):
            pass

    def _compute(self, computation: _Computation | None) -> bool:
        """Compute, in a call of its own so that an idle thread holds nothing; ``False`` for the thread to end."""
        if computation is None:
            return False
        value, error = None, None
        try:
            value = computation.work()
        except BaseException as raised:  # noqa: BLE001 - the thread's boundary: it is raised where it is waited for
            error = raised
        try:
            computation.loop.call_soon_threadsafe(self._ended, computation, value, error)
        except RuntimeError:  # the event loop is closed
            return False
        finally:
            del computation, value, error  # the traceback of an error holds this frame, and that would hold the body
        return True


class Place:
    """The place of one request in a `ComputePool`."""

    def __init__(self, pool: ComputePool) -> None:
        self._pool = pool
        self._abandoned = threading.Event()

    def check(self) -> None:
        """End a computation that nobody waits for; called by it now and then, in its thread.

        Raises
        ------
        ClientDisconnect
            The client has gone, or the server ends.
        """
        if self._abandoned.is_set():
            raise ClientDisconnect

    async def run(self, request: Request, work: Callable[[], T]) -> T:
        """Compute in a thread of the pool, and stop as soon as the client has gone.

        Parameters
        ----------
        request
            The request, its body read to the end: what comes after that can only be the end of the connection.
        work
            What to compute. It ends early where it calls `check`.

        Raises
        ------
        ClientDisconnect
            The client has gone.
        """
        computation = _Computation(work)
        abandon = partial(self._abandon, computation)
        self._pool.begin(computation)
        leaving = asyncio.create_task(_disconnect(request))
        leaving.add_done_callback(abandon)
        try:
            value, error = await computation.outcome
        except asyncio.CancelledError:
            abandon()
            raise
        finally:
            leaving.remove_done_callback(abandon)
            leaving.cancel()
        try:
            if error is not None:
                raise error
            return value
        finally:
            del computation, error, abandon  # as in `_compute`

    def _abandon(self, computation: _Computation, _: object = None) -> None:
        self._abandoned.set()
        self._pool.forget(computation)


async def _disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
