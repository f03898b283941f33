"""``Watcher``: one thread that notices changes for every request that waits for one.

A waiting request holds a future, and neither a thread nor a connection. The thread looks whether the database has
changed, reads the sequences of the jobs that are waited for in one query, and wakes those whose job has moved on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from dropout_service.database.outages import OUTAGES, explain_outage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from dropout_service.jobs.job import JobStatus

__all__ = ["Watcher"]

POLL_S = 0.05
"""Interval between two looks while somebody waits."""
_AWAY_S = 1.0

logger = logging.getLogger(__name__)


class _Store(Protocol):
    def sequences(self, job_ids: Sequence[str]) -> Mapping[str, tuple[int, JobStatus]]: ...


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    job_id: str
    after: int
    until_ended: bool
    loop: asyncio.AbstractEventLoop
    woken: asyncio.Future[bool]

    def met_by(self, found: tuple[int, JobStatus] | None) -> bool:
        if found is None:  # deleted meanwhile: the request will find out
            return True
        sequence, status = found
        return status.terminal or (not self.until_ended and sequence > self.after)

    def wake(self, *, moved: bool) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody waits any more
            self.loop.call_soon_threadsafe(self._resolve, moved)

    def _resolve(self, moved: bool) -> None:  # noqa: FBT001 - called through the loop
        if not self.woken.done():
            self.woken.set_result(moved)


class Watcher:
    """Wakes requests whose job has moved on; a context manager, open as long as there are requests.

    Parameters
    ----------
    store
        Where sequences are read.
    changed
        Tells cheaply whether there may be anything new; called by the watcher's thread alone.
    wake_up
        Set by whoever knows that there is; `changed` is asked then, and every `POLL_S` while somebody waits.
    """

    def __init__(self, store: _Store, changed: Callable[[], bool], wake_up: threading.Event | None = None) -> None:
        self._store = store
        self._changed = changed
        self._lock = threading.Lock()
        self._waiters: set[_Waiter] = set()
        self._newcomers: set[_Waiter] = set()
        self._wake_up = wake_up or threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._watch, name="job-watcher", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        self._thread.join()

    @property
    def closed(self) -> bool:
        """Whether waiting is over for everybody: the service is stopping."""
        return self._closed

    async def moved(self, job_id: str, *, after: int, timeout_s: float, until_ended: bool = False) -> bool:
        """Wait until a job has an event above a sequence.

        Parameters
        ----------
        job_id
            The job; one that does not exist ends the wait at once.
        after
            Sequence of the last event that is known.
        timeout_s
            Longest time to wait.
        until_ended
            Wait for the end of the job instead.

        Returns
        -------
        bool
            ``False`` when the time is over, or the watcher was closed.
        """
        loop = asyncio.get_running_loop()
        waiter = _Waiter(job_id, after, until_ended, loop, loop.create_future())
        with self._lock:
            if self._closed:
                return False
            self._waiters.add(waiter)
            self._newcomers.add(waiter)
            self._wake_up.set()
        try:
            async with asyncio.timeout(timeout_s):
                return await waiter.woken
        except TimeoutError:
            return False
        finally:
            with self._lock:
                self._waiters.discard(waiter)
                self._newcomers.discard(waiter)

    def close(self) -> None:
        """Wake all waiters and refuse new ones; may be called by any thread."""
        with self._lock:
            self._closed = True
            waiters = list(self._waiters)
            self._wake_up.set()
        for waiter in waiters:
            waiter.wake(moved=False)

    def _watch(self) -> None:
        while not self._closed:
            # Without anybody who waits there is nothing to look for, and this thread sleeps.
            self._wake_up.wait(POLL_S if self._waiters else None)
            self._wake_up.clear()
            try:
                self._look()
            except OUTAGES as error:
                logger.warning("%s", explain_outage(error))
                time.sleep(_AWAY_S)
                self._look_at_all()

    def _look(self) -> None:
        changed = self._changed()
        with self._lock:
            # What a newcomer waits for may have happened before it came, so it is looked up in any case.
            asked = list(self._waiters if changed else self._newcomers)
            self._newcomers.clear()
        if asked:
            found = self._store.sequences(sorted({waiter.job_id for waiter in asked}))
            for waiter in asked:
                if waiter.met_by(found.get(waiter.job_id)):
                    waiter.wake(moved=True)

    def _look_at_all(self) -> None:
        """Let the next look be at every waiter: what has changed was noticed, but not read."""
        with self._lock:
            self._newcomers |= self._waiters
            self._wake_up.set()
