"""``ForkLoop``: a process with one thread that waits for messages, forks a child for each, and hears how it ends.

Such a process has everything imported that its children need, and does nothing itself that a fork could break.
"""

from __future__ import annotations

import abc
import os
import selectors
import signal
import sys
import traceback
from typing import TYPE_CHECKING, Final, NoReturn

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

__all__ = ["ForkLoop", "ignore_signals_to_the_group"]

_READ_BYTES: Final = 1 << 16


class ForkLoop(abc.ABC):
    """Waits for messages and for children that end.

    Parameters
    ----------
    channel
        A socket that keeps the bounds of messages, to whoever asks for children.
    """

    def __init__(self, channel: socket.socket) -> None:
        self.channel = channel
        self._woken, self._wake = os.pipe()
        for end in (self._woken, self._wake):
            os.set_blocking(end, False)

    @abc.abstractmethod
    def receive(self) -> bool:
        """Read a message, which is there, and act on it; return false when the other end is closed."""

    @abc.abstractmethod
    def ended(self, pid: int, code: int) -> None:
        """Learn that a child has ended, with its exit code, negative for a signal."""

    def serve(self) -> None:
        """Serve until the other end of the channel is closed."""
        signal.signal(signal.SIGCHLD, _nothing)  # a handler, or else the wake-up descriptor is not written
        signal.set_wakeup_fd(self._wake)
        with selectors.DefaultSelector() as selector:
            selector.register(self.channel, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while True:
                ready = {key.fileobj for key, _ in selector.select()}
                if self._woken in ready:
                    os.read(self._woken, _READ_BYTES)
                    self._reap()
                if self.channel in ready and not self.receive():
                    return

    def fork(self, run: Callable[[], int]) -> int:
        """Fork a child that runs a function, whose result is its exit code, and never returns; return its number.

        Raises
        ------
        OSError
            There is no room for a process, or no memory.
        """
        pid = os.fork()
        if pid == 0:
            self._become(run)
        return pid

    def _become(self, run: Callable[[], int]) -> NoReturn:
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self.channel.close()
            os.close(self._woken)
            os.close(self._wake)
            code = run()
        except BaseException:  # noqa: BLE001 - the boundary of a process: the code tells
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self.ended(pid, os.waitstatus_to_exitcode(status))


def ignore_signals_to_the_group() -> None:
    """Ignore what Ctrl-C or a stopping terminal sends to all: it is for whoever started this process to act on."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)


def _nothing(*_: object) -> None:
    """Do nothing: only the wake-up counts."""
