"""Run a compiled kernel over a range on several threads.

One team of daemon threads for the process, who take chunks of the range from a `board`, and the caller works too. To
hand out work, to help and to finish takes no GIL: a thread that finds the GIL taken is put to sleep, which on a virtual
machine costs as much as 200 000 elements of dropout. A helper that finds nothing to do goes on looking for some 100 us;
then it sleeps until it is called.

The board holds one job at a time. A caller who finds it taken does its range alone, and nobody waits for a helper that
has not begun. Chunks are disjoint: the result does not depend on the number of threads.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import os
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numba import types

from dropout_service.kernels.codegen.compile_cache import warms
from dropout_service.kernels.runtime import cpus
from dropout_service.kernels.runtime.board import BOARD_BYTES, do, help_out

if TYPE_CHECKING:
    from collections.abc import Callable

    Kernel = Callable[[int, int, int], None]

__all__ = ["run", "set_threads", "threads_in_use"]

_CHUNKS_A_THREAD: Final = 8
"""Chunks are claimed as threads come free, so that one slow core does not hold up the rest."""
_LOOKS: Final = 4000
"""How often a helper looks for work before it sleeps: some 100 us."""
_WAKING_GRAINS: Final = 8
"""From how many grains on helpers are woken: to wake one costs the caller itself some 50 us on a virtual machine."""

_this_core: Final = getattr(ctypes.CDLL(None), "sched_getcpu", None)


def _keep_off_this_core(thread: int) -> None:
    """Let a sleeping thread wake on another core than the caller's.

    Linux wakes a thread where it last ran, and in a virtual machine it hardly ever moves it to an idle core then:
    caller and helper would share one for some milliseconds.
    """
    if _this_core is not None:
        others = os.sched_getaffinity(0) - {_this_core()}
        with contextlib.suppress(OSError):  # a core may just have been taken away from the process
            os.sched_setaffinity(thread, others)


class _Team:
    """A board, and the threads that look at it; grown on demand."""

    def __init__(self) -> None:
        self._cells = np.zeros(BOARD_BYTES, np.uint8)
        self.board = self._cells.ctypes.data
        self._threads: list[threading.Thread] = []
        self._growing = threading.Lock()
        self._asleep: deque[tuple[int, threading.Lock]] = deque()
        self._dissolved = False

    def call(self, helpers: int) -> None:
        """See to it that so many helpers are awake, or on their way."""
        if len(self._threads) < helpers:
            self._grow(helpers)
        for _ in range(helpers):
            try:
                thread, alarm = self._asleep.pop()
            except IndexError:
                return
            _keep_off_this_core(thread)
            alarm.release()

    def dissolve(self) -> None:
        """End the threads: none must come back from compiled code into an interpreter that is going down."""
        self._dissolved = True
        self.call(len(self._threads))
        for thread in self._threads:
            thread.join(timeout=1)

    def _grow(self, helpers: int) -> None:
        with self._growing:
            while len(self._threads) < helpers and not self._dissolved:
                name = f"kernel-{len(self._threads)}"
                thread = threading.Thread(target=self._serve, name=name, daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # the system has no more; the caller does the work with those there are
                    return
                self._threads.append(thread)

    def _serve(self) -> None:
        alarm = threading.Lock()
        alarm.acquire()
        while True:
            help_out(self.board, _LOOKS)
            self._asleep.append((threading.get_native_id(), alarm))
            if self._dissolved:
                return
            alarm.acquire()  # a job that was offered since the last look is done without this helper


class _State:
    def __init__(self) -> None:
        self.team = _Team()
        self.cpus = cpus.available()
        self.threads = self.cpus

    def renew_team(self) -> None:
        self.team = _Team()

    def dissolve_team(self) -> None:
        self.team.dissolve()


_state = _State()
atexit.register(_state.dissolve_team)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_state.renew_team)  # threads do not survive a fork


def set_threads(threads: int) -> None:
    """Set the default number of threads of a kernel."""
    _state.threads = max(1, threads)


def threads_in_use() -> int:
    """Return the default number of threads of a kernel; at first, the CPUs of this process."""
    return _state.threads


def run(kernel: Kernel, arguments: bytes, size: int, *, grain: int, threads: int | None = None) -> None:
    """Run ``kernel(address of the arguments, start, stop)`` over disjoint ranges that cover ``[0, size)``.

    Parameters
    ----------
    kernel
        A compiled function that releases the GIL, raises nothing and writes only what belongs to its range.
    arguments
        What else it needs, packed; see `intrinsics.unpacks`.
    size
        Length of the whole range.
    grain
        The least that is worth a thread of its own: a shorter range than two of them is done by the caller alone, and
        one shorter than eight unless helpers happen to be awake. Every range starts at a multiple of it.
    threads
        How many threads at most, the caller among them; None for the process-wide number. There are never more than
        CPUs.
    """
    team, chunk, helpers = _state.team, size, 0
    if size >= 2 * grain:
        helpers = min(_state.threads if threads is None else threads, _state.cpus, size // grain) - 1
    if helpers > 0:
        if size >= _WAKING_GRAINS * grain:
            team.call(helpers)
        chunk = max(1, size // ((helpers + 1) * _CHUNKS_A_THREAD * grain)) * grain
    do(team.board, _entry(kernel), arguments, size, chunk, max(0, helpers))


@functools.cache
def _entry(kernel: Any) -> int:
    """Return the address of a kernel's compiled code, as a C function."""
    signature = (types.int64,) * 3
    kernel.compile(signature)
    compiled = kernel.overloads[signature]
    return compiled.library.get_pointer_to_function(compiled.fndesc.llvm_cfunc_wrapper_name)


@warms
def _exercise() -> None:
    help_out(_state.team.board, 0)
