"""Run a compiled kernel over a range on several threads.

One small pool of daemon threads for the process. The caller works too and never waits for a helper that has not
begun, so concurrent callers share the pool without blocking one another, and a small range runs in the caller alone.
Kernels release the GIL and write disjoint ranges: the result does not depend on the number of threads.

To put a thread to sleep and wake it on another core costs about 50 us on a virtual machine, as much as 200 000 elements
of dropout. So a helper that has run out of work, and a caller whose helpers are on their last chunk, first watch a
counter for a moment, without the GIL.
"""

from __future__ import annotations

import os
import threading
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from llvmlite import ir
from numba import types

from dropout_service.kernels.compile_cache import jit, warms
from dropout_service.kernels.intrinsics import emits

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["run", "set_threads", "threads_in_use"]

_CHUNKS_A_THREAD: Final = 4
"""Chunks are claimed as threads come free, so that one slow core does not hold up the rest."""
_LOOKS: Final = 1 << 16
"""How often a counter is looked at before its watcher goes to sleep: about 100 us."""


@emits(types.int64(types.int64))
def _peek(_context: Any, builder: Any, counter: Any) -> Any:
    """Read a counter that another thread writes."""
    return builder.load_atomic(builder.inttoptr(counter, ir.IntType(64).as_pointer()), "acquire", 8)


@emits(types.void(types.int64))
def _poke(_context: Any, builder: Any, counter: Any) -> None:
    """Set a counter that another thread watches to 1."""
    word = ir.IntType(64)
    builder.store_atomic(ir.Constant(word, 1), builder.inttoptr(counter, word.as_pointer()), "release", 8)


@jit
def _watch(counter: int, value: int, looks: int, signal: int) -> bool:
    """Look at a counter until it is no longer ``value``; False when that did not happen in time.

    ``signal`` is the address of a counter to set first, or 0. Setting it here, without the GIL, spares the thread that
    watches it a wait for the GIL, which ends in a sleep.
    """
    if signal:
        _poke(signal)
    for _ in range(looks):  # noqa: SIM110 - Numba compiles no generators in any()
        if _peek(counter) != value:
            return True
    return False


class _Counter:
    """An integer that compiled code can watch."""

    def __init__(self) -> None:
        self._cell = np.zeros(1, np.int64)
        self.address = self._cell.ctypes.data

    @property
    def value(self) -> int:
        return int(self._cell[0])

    def advance(self) -> None:
        self._cell[0] += 1

    def watch(self, value: int, signal: _Counter | None = None) -> bool:
        return _watch(self.address, value, _LOOKS, signal.address if signal else 0)


class _Job:
    """One range being worked off by its caller and any helpers that come in time."""

    def __init__(self, work: Callable[[int, int], None], size: int, chunk: int) -> None:
        self._work = work
        self._size = size
        self._chunk = chunk
        self._starts = iter(range(0, size, chunk))
        self._lock = threading.Lock()
        self._helping = 0
        self._closed = False
        self._finished = threading.Lock()
        self._left = _Counter()
        self._fault: BaseException | None = None

    def drain(self) -> None:
        for start in self._starts:  # advancing a range iterator is atomic under the GIL
            self._work(start, min(start + self._chunk, self._size))

    def help(self) -> _Counter | None:
        """Work until nothing is left; return the counter by which to tell the caller, if it is waiting."""
        with self._lock:
            if self._closed:
                return None
            self._helping += 1
        try:
            self.drain()
        except BaseException as fault:  # noqa: BLE001 - carried to the caller, who raises it
            self._fault = fault
        with self._lock:
            self._helping -= 1
            if not self._closed or self._helping:
                return None
            self._finished.release()
            return self._left

    def finish(self) -> None:
        with self._lock:
            self._closed = True
            waiting = self._helping > 0
            if waiting:
                self._finished.acquire()
        if waiting:
            self._left.watch(0)
            self._finished.acquire()
        if self._fault is not None:
            raise self._fault


class _Pool:
    """Daemon threads that wait for jobs; grown on demand, started anew in a forked child."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        self._offered = _Counter()
        self._size = 0
        self._lock = threading.Lock()

    def offer(self, job: _Job, helpers: int) -> None:
        with self._lock:
            while self._size < helpers:
                threading.Thread(target=self._serve, name=f"kernel-{self._size}", daemon=True).start()
                self._size += 1
            for _ in range(helpers):
                self._jobs.put(job)
            self._offered.advance()

    def _serve(self) -> None:
        done: _Counter | None = None
        while True:
            seen = self._offered.value
            try:
                job = self._jobs.get_nowait()
            except Empty:
                offered = self._offered.watch(seen, done)
                done = None
                if offered:
                    continue
                job = self._jobs.get()
            else:
                if done is not None:
                    done.advance()
            done = job.help()


class _State:
    def __init__(self) -> None:
        self.pool = _Pool()
        self.threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    def renew_pool(self) -> None:
        self.pool = _Pool()


_state = _State()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_state.renew_pool)  # threads do not survive a fork


def set_threads(threads: int) -> None:
    """Set how many threads a kernel may use when a call does not say."""
    _state.threads = max(1, threads)


def threads_in_use() -> int:
    """Return how many threads a kernel may use when a call does not say; at first, the CPUs of this process."""
    return _state.threads


def run(work: Callable[[int, int], None], size: int, *, align: int, grain: int, threads: int | None = None) -> None:
    """Call ``work(start, stop)`` over disjoint ranges that cover ``[0, size)``.

    Parameters
    ----------
    work
        Must release the GIL to gain anything, and write only what belongs to its range.
    size
        Length of the whole range.
    align
        Every start is a multiple of it.
    grain
        The least that is worth a thread of its own; a range up to twice as long runs in the caller.
    threads
        How many threads at most, the caller among them; None for the process-wide number.
    """
    threads = threads_in_use() if threads is None else max(1, threads)
    helpers = min(threads, size // grain) - 1
    if helpers < 1:
        work(0, size)
        return
    chunk = max(grain, size // ((helpers + 1) * _CHUNKS_A_THREAD))
    job = _Job(work, size, -(-chunk // align) * align)
    _state.pool.offer(job, helpers)
    try:
        job.drain()
    finally:
        job.finish()


@warms
def _exercise() -> None:
    counter = _Counter()
    counter.advance()
    counter.watch(0)
