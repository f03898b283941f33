from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from contextlib import ExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from starlette.requests import ClientDisconnect, Request

from dropout_service.api.compute import ComputePool
from dropout_service.errors import OverloadedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

PATIENCE_S = 20.0


class Client:
    """Who sent a request: its body is read, and it may leave."""

    def __init__(self) -> None:
        self._left = asyncio.Event()
        self.request = Request({"type": "http"}, receive=self._receive)

    async def _receive(self) -> dict[str, Any]:
        await self._left.wait()
        return {"type": "http.disconnect"}

    def leave(self) -> None:
        self._left.set()


class Work:
    """A computation that begins, and goes on until it is told to end."""

    def __init__(self, value: object = None) -> None:
        self._loop = asyncio.get_running_loop()
        self.begun = asyncio.Event()
        self.end = threading.Event()
        self.value = value

    def __call__(self) -> object:
        self._loop.call_soon_threadsafe(self.begun.set)
        assert self.end.wait(PATIENCE_S)
        return self.value


@asynccontextmanager
async def computing(pool: ComputePool, work: Callable[[], Any], client: Client) -> AsyncIterator[asyncio.Task[Any]]:
    """Compute in the background, with a place of its own."""

    async def run() -> Any:
        with pool.place() as place:
            return await place.run(client.request, work)

    task = asyncio.create_task(run())
    await asyncio.sleep(0)
    yield task


async def within_patience(awaited: Any) -> Any:
    async with asyncio.timeout(PATIENCE_S):
        return await awaited


def test_a_value_and_an_error_come_from_another_thread():
    async def main() -> None:
        with ComputePool(1, 0).place() as place:
            client = Client()
            name = await place.run(client.request, lambda: threading.current_thread().name)
            assert name == "compute-1"
            with pytest.raises(ZeroDivisionError):
                await place.run(client.request, lambda: 1 // 0)
            assert await place.run(client.request, lambda: 5) == 5, "the thread goes on after an error"

    asyncio.run(main())


def test_a_closed_pool_leaves_no_thread():
    async def main() -> threading.Thread:
        pool = ComputePool(1, 0)
        with pool.place() as place:
            thread = await place.run(Client().request, threading.current_thread)
        assert thread.daemon, "the interpreter does not wait for it"
        pool.close()
        return thread

    thread = asyncio.run(main())
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def test_places_are_bounded_and_given_back():
    async def main() -> None:
        pool = ComputePool(2, 1)
        with ExitStack() as stack:
            for _ in range(3):
                stack.enter_context(pool.place())
            with pytest.raises(OverloadedError, match="DROPOUT_SERVICE_COMPUTE_QUEUE") as refused, pool.place():
                pass
            assert refused.value.retry_after_s
        with pool.place():
            pass

    asyncio.run(main())


def test_no_more_than_its_threads_compute_and_the_first_come_first():
    async def main() -> None:
        pool = ComputePool(2, 8)
        works = [Work(number) for number in range(4)]
        async with (
            computing(pool, works[0], Client()) as first,
            computing(pool, works[1], Client()),
            computing(pool, works[2], Client()) as third,
            computing(pool, works[3], Client()) as fourth,
        ):
            await within_patience(works[0].begun.wait())
            await within_patience(works[1].begun.wait())
            works[0].end.set()
            assert await within_patience(first) == 0
            await within_patience(works[2].begun.wait())
            assert not works[3].begun.is_set()
            for work in works:
                work.end.set()
            assert [await within_patience(third), await within_patience(fourth)] == [2, 3]

    asyncio.run(main())


def test_who_leaves_the_queue_is_never_computed():
    async def main() -> None:
        pool = ComputePool(1, 8)
        running, left, last = Work(), Work(), Work("last")
        client = Client()
        async with (
            computing(pool, running, Client()),
            computing(pool, left, client) as leaving,
            computing(pool, last, Client()) as staying,
        ):
            await within_patience(running.begun.wait())
            client.leave()
            with pytest.raises(ClientDisconnect):
                await within_patience(leaving)
            running.end.set()
            last.end.set()
            assert await within_patience(staying) == "last"
            assert not left.begun.is_set()

    asyncio.run(main())


def test_who_leaves_while_computing_is_told_where_it_checks():
    async def main() -> None:
        pool = ComputePool(1, 0)
        client = Client()
        begun = threading.Event()
        with pool.place() as place:

            def work() -> None:
                begun.set()
                while True:
                    place.check()

            task = asyncio.create_task(place.run(client.request, work))
            assert await within_patience(asyncio.to_thread(begun.wait, PATIENCE_S))
            client.leave()
            with pytest.raises(ClientDisconnect):
                await within_patience(task)
        with pool.place() as place:
            assert await within_patience(place.run(Client().request, lambda: 1)) == 1

    asyncio.run(main())


def test_a_cancelled_request_ends_its_computation_and_frees_the_thread():
    async def main() -> None:
        pool = ComputePool(1, 1)
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        with pool.place() as place:
            begun = asyncio.Event()

            def work() -> None:
                loop.call_soon_threadsafe(begun.set)
                try:
                    while True:
                        place.check()
                finally:
                    loop.call_soon_threadsafe(ended.set)

            task = asyncio.create_task(place.run(Client().request, work))
            await within_patience(begun.wait())
            async with computing(pool, Work(), Client()) as waiting:
                waiting.cancel()
                task.cancel()
                await within_patience(asyncio.wait({task, waiting}))
                assert task.cancelled()
                assert waiting.cancelled()
            await within_patience(ended.wait())
            assert await within_patience(place.run(Client().request, lambda: 1)) == 1

    asyncio.run(main())


@pytest.mark.parametrize("fails", [False, True])
def test_an_idle_thread_holds_nothing_of_what_it_computed(fails: bool):  # noqa: FBT001 - a parameter of the test
    async def main() -> None:
        pool = ComputePool(1, 0)

        async def compute() -> weakref.ref[Any]:
            body = np.zeros(1000)

            def work() -> None:
                assert body.size == 1000
                if fails:
                    raise ValueError

            with pool.place() as place:
                try:
                    await place.run(Client().request, work)
                except ValueError:
                    assert fails
            return weakref.ref(body)

        gc.disable()
        try:
            reference = await compute()
            await asyncio.sleep(0)
            deadline = asyncio.get_running_loop().time() + PATIENCE_S
            while reference() is not None:
                assert asyncio.get_running_loop().time() < deadline
                await asyncio.sleep(0.001)
        finally:
            gc.enable()

    asyncio.run(main())
