"""What the processes of the dispatcher ask of the operating system (Linux; elsewhere some of it does nothing)."""

from __future__ import annotations

import ctypes
import os
import re
import resource
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container
    from types import FrameType

__all__ = ["SINGLE_THREADED", "StopRequest", "die_with_parent", "limit_memory", "oom_kills"]

SINGLE_THREADED = dict.fromkeys(
    ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)
"""Environment in which NumPy is imported with one BLAS thread, so that the process can be forked safely."""

_PR_SET_PDEATHSIG = 1


class StopRequest:
    """Whether a signal has asked this process to end, and whether at once: SIGQUIT does, and a second one that counts.

    It has no lock, unlike :class:`threading.Event`: a second signal may interrupt the handler of the first, which would
    then wait for itself for ever. And a second one comes: Linux tells of the death of a parent once for each thread
    of the parent that ends.

    Parameters
    ----------
    numbers
        The signals to handle; only the main thread can ask for that.
    counted
        Those that mean "at once" when one of them has come before; not SIGTERM where the death of a parent sends it.
    """

    def __init__(self, *numbers: signal.Signals, counted: Container[int] = (signal.SIGINT,)) -> None:
        self._made = False
        self._urgent = False
        self._asked = False
        self._counted = counted
        for number in numbers:
            signal.signal(number, self._make)

    def is_made(self) -> bool:
        """Return whether one of the signals has come."""
        return self._made

    def is_urgent(self) -> bool:
        """Return whether there is no time for an end in good order."""
        return self._urgent

    def _make(self, number: int, _frame: FrameType | None) -> None:
        self._made = True
        counts = number in self._counted
        if number == signal.SIGQUIT or (counts and self._asked):
            self._urgent = True
        self._asked |= counts


def die_with_parent(with_signal: signal.Signals, parent_pid: int) -> None:
    """Ask for a signal when the thread that started this process ends, even by ``kill -9``.

    Parameters
    ----------
    with_signal
        The signal to get.
    parent_pid
        The parent as it knows itself: it may be gone already, and then nothing would ever come.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(with_signal))
    if os.getppid() != parent_pid:
        os.kill(os.getpid(), with_signal)


def limit_memory(limit_bytes: int | None) -> None:
    """Bound the memory of this process, unless it is bound more narrowly; let no crash write a core file.

    That is what it may write to and has no file behind it (Linux 4.7 and later): files that are mapped do not count.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    present, _ = resource.getrlimit(resource.RLIMIT_DATA)
    if limit_bytes is not None and (present == resource.RLIM_INFINITY or limit_bytes < present):
        resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, limit_bytes))


def oom_kills() -> int:
    """Count the processes that the kernel has killed for want of memory in this control group; 0 when unknown."""
    try:
        found = re.search(r"^oom_kill (\d+)$", Path("/sys/fs/cgroup/memory.events").read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) if found else 0
