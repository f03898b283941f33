"""The process that waits for files to look through, and forks a child for each.

It reads no file itself and has one thread, so there is nothing in it that a fork could break. A request is a message, a
JSON object, that comes with one end of a socket. Over that goes the child's answer, a line of JSON, and then the
child's exit code, negative for a signal. When the channel is closed, the process ends.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import selectors
import signal
import socket
import sys
import traceback
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, NoReturn

from dropout_service.budgets import Budgets
from dropout_service.datasets.columnar.scan import scan_columnar
from dropout_service.datasets.csv_text.scan import scan_csv
from dropout_service.datasets.dataset import CsvOptions
from dropout_service.datasets.scan import scan
from dropout_service.errors import InvalidInputError, OverBudgetError

__all__ = ["main"]

_MESSAGE_BYTES: Final = 1 << 16
_WARM: Final = (scan_csv, scan_columnar)
"""What ``scan`` imports when it is needed, and a child should find imported, PyArrow above all."""


class _Server:
    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._children: dict[int, socket.socket] = {}
        self._woken, self._wake = os.pipe()
        for end in (self._woken, self._wake):
            os.set_blocking(end, False)

    def serve(self) -> None:
        """Serve until the other end of the channel is closed."""
        signal.signal(signal.SIGCHLD, _nothing)  # a handler, or else the wake-up descriptor is not written
        signal.set_wakeup_fd(self._wake)
        with selectors.DefaultSelector() as selector:
            selector.register(self._channel, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while True:
                ready = {key.fileobj for key, _ in selector.select()}
                if self._woken in ready:
                    os.read(self._woken, _MESSAGE_BYTES)
                    self._reap()
                if self._channel in ready:
                    message, descriptors, _, _ = socket.recv_fds(self._channel, _MESSAGE_BYTES, 1)
                    if not message:
                        break
                    self._begin(json.loads(message), socket.socket(fileno=descriptors[0]))
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)  # not reaped yet, so the number is still this child's

    def _begin(self, request: dict[str, Any], answer: socket.socket) -> None:
        try:
            pid = os.fork()
        except OSError:  # no room for a process: whoever asked gets no answer
            answer.close()
            return
        if pid == 0:
            self._become(request, answer)
        self._children[pid] = answer

    def _become(self, request: dict[str, Any], answer: socket.socket) -> NoReturn:
        """Turn a fresh fork into the reader of one file. It must never return into the loop."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._channel.close()
            for other in self._children.values():
                other.close()
            answer.sendall(json.dumps(_answer(request)).encode() + b"\n")
            code = 0
        except BaseException:  # noqa: BLE001 - the boundary of a process: the code tells
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)

    def _reap(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            with self._children.pop(pid) as answer, suppress(OSError):  # nobody may listen any more
                answer.sendall(str(os.waitstatus_to_exitcode(status)).encode())


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    """Look through the file; the bounds are the operating system's to hold."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    memory_bytes: int = request["memory_bytes"]
    if sys.platform == "linux":
        begun_with = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        allowed_bytes = begun_with + memory_bytes
        resource.setrlimit(resource.RLIMIT_AS, (allowed_bytes, allowed_bytes))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # which ends the process, whatever it is doing
    signal.setitimer(signal.ITIMER_REAL, request["timeout_s"])
    try:
        options = CsvOptions.from_json(request["options"])
        schema = scan(Path(request["path"]), request["format"], Budgets(**request["budgets"]), options)
        return {"schema": schema.to_json()}
    except OverBudgetError as error:
        return {"message": error.message, "excess": asdict(error.excess)}
    except InvalidInputError as error:
        return {"message": error.message, "errors": [asdict(fault) for fault in error.errors]}
    except MemoryError:
        allowed = f"{memory_bytes:,} bytes of memory, which this service allows (DROPOUT_SERVICE_READER_MEMORY_BYTES)"
        return {"message": f"to look through the file takes more than {allowed}", "errors": []}


def _nothing(*_: object) -> None:
    """Do nothing: only the wake-up counts."""


def main(descriptor: int) -> None:
    """Serve on an inherited socket."""
    # Signals to the whole group (Ctrl-C, a stopping terminal) are for whoever started this; its channel is closed then.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    gc.freeze()  # a collection in a child would copy every page that holds an object
    with socket.socket(fileno=descriptor) as channel:
        _Server(channel).serve()


if __name__ == "__main__":
    main(int(sys.argv[1]))
