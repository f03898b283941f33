"""The process that waits for files to read, and forks a child for each.

It reads no file itself and has one thread, so there is nothing in it that a fork could break. A request is a message, a
JSON object, that comes with one end of a socket. Over that goes the child's answer, a line of JSON, and then the
child's exit code, negative for a signal. When the channel is closed, the process ends.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import socket
import sys
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Final

from dropout_service.budgets import Budgets
from dropout_service.datasets.cell_arrays import text_array
from dropout_service.datasets.columnar.scan import scan_columnar
from dropout_service.datasets.csv_text.scan import scan_csv
from dropout_service.datasets.dataset import CsvOptions
from dropout_service.datasets.reader.heap import suit_heap_to
from dropout_service.datasets.rows.feature import Feature
from dropout_service.datasets.rows.table import write_rows
from dropout_service.datasets.scan import scan
from dropout_service.errors import InvalidInputError, OverBudgetError, StorageFullError, UnavailableError
from dropout_service.forking import ForkLoop, ignore_signals_to_the_group

__all__ = ["main"]

_MESSAGE_BYTES: Final = 1 << 16
_WARM: Final = (scan_csv, scan_columnar)
"""What ``scan`` imports when it is needed, and a child should find imported, PyArrow above all."""


class _Server(ForkLoop):
    def __init__(self, channel: socket.socket) -> None:
        super().__init__(channel)
        self._children: dict[int, socket.socket] = {}

    def serve(self) -> None:
        """Serve until the other end of the channel is closed, and give up what is under way then."""
        super().serve()
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)  # not reaped yet, so the number is still this child's

    def receive(self) -> bool:
        """Read a request, and fork who answers it."""
        message, descriptors, _, _ = socket.recv_fds(self.channel, _MESSAGE_BYTES, 1)
        if not message:
            return False
        answer = socket.socket(fileno=descriptors[0])
        try:
            pid = self.fork(partial(self._run, json.loads(message), answer))
        except OSError:  # no room for a process: whoever asked gets no answer
            answer.close()
        else:
            self._children[pid] = answer
        return True

    def ended(self, pid: int, code: int) -> None:
        """Tell the exit code behind the answer, if there was one."""
        with self._children.pop(pid) as answer, suppress(OSError):  # nobody may listen any more
            answer.sendall(str(code).encode())

    def _run(self, request: dict[str, Any], answer: socket.socket) -> int:
        """Read one file, in a process of its own."""
        for other in self._children.values():
            other.close()
        answer.sendall(json.dumps(_answer(request)).encode() + b"\n")
        return 0


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    """Do what is asked; the bounds are the operating system's to hold."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    memory_bytes: int = request["memory_bytes"]
    if sys.platform == "linux":
        begun_with = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
        allowed_bytes = begun_with + memory_bytes
        resource.setrlimit(resource.RLIMIT_DATA, (allowed_bytes, allowed_bytes))  # a mapped file is no memory
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # which ends the process, whatever it is doing
    signal.setitimer(signal.ITIMER_REAL, request["timeout_s"])
    try:
        return (_rows if "into" in request else _schema)(request)
    except OverBudgetError as error:
        return {"message": error.message, "excess": asdict(error.excess)}
    except InvalidInputError as error:
        return {"message": error.message, "errors": [asdict(fault) for fault in error.errors]}
    except UnavailableError as error:
        return {"message": error.message, "full": isinstance(error, StorageFullError)}
    except MemoryError:
        allowed = f"{memory_bytes:,} bytes of memory, which this service allows (DROPOUT_SERVICE_READER_MEMORY_BYTES)"
        return {"message": f"to read the file takes more than {allowed}", "errors": []}


def _schema(request: dict[str, Any]) -> dict[str, Any]:
    path, options = Path(request["path"]), CsvOptions.from_json(request["options"])
    if request["format"] == "csv":
        suit_heap_to(path)
    schema = scan(path, request["format"], Budgets(**request["budgets"]), options)
    return {"schema": schema.to_json()}


def _rows(request: dict[str, Any]) -> dict[str, Any]:
    asked = json.loads(Path(request["features"]).read_text(encoding="utf-8"))
    texts = write_rows(
        Path(request["path"]),
        request["format"],
        [Feature(**feature) for feature in asked],
        Budgets(**request["budgets"]),
        into=Path(request["into"]),
        max_chars=request["max_chars"],
    )
    return {"texts": texts}


def main(descriptor: int) -> None:
    """Serve on an inherited socket."""
    ignore_signals_to_the_group()  # the channel is closed then
    text_array([""])  # the first array lets PyArrow look for pandas, which takes 0.15 s where it is installed
    gc.freeze()  # a collection in a child would copy every page that holds an object
    with socket.socket(fileno=descriptor) as channel:
        _Server(channel).serve()


if __name__ == "__main__":
    main(int(sys.argv[1]))
