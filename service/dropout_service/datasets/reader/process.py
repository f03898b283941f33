"""``Reader``: scans files in processes that are forked for it, and tells how they ended."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import asdict
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from dropout_service.datasets.dataset import AS_IT_IS, COLUMNAR, TableSchema
from dropout_service.datasets.scan import scan
from dropout_service.errors import Excess, FieldError, InvalidInputError, OverBudgetError, UnavailableError

if TYPE_CHECKING:
    from pathlib import Path

    from dropout_service.budgets import Budgets
    from dropout_service.datasets.dataset import CsvOptions, DatasetFormat

__all__ = ["Reader"]

_SMALL_BYTES: Final = 1 << 20
"""A file of text or arrays that is not larger is looked through at once: it can take neither long nor much memory."""
_GRACE_S: Final = 10.0
_TRIES: Final = 2
_SPARING: Final = {"ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "2"}
"""Environment in which little more address space is reserved than used: PyArrow's own allocator begins with a GiB."""


class Reader:
    """Looks through files, each in a process of its own, with bounds of memory and time.

    Small files of csv, npy and npz are looked through in this process, where that takes less time than to fork: these
    are read by our own code and by a parser of plain text. Parquet and Arrow, whose every length is the sender's, never
    are.

    A process with all that is needed imported waits from the first file on, and forks one child for each.

    Parameters
    ----------
    memory_bytes
        What a child may allocate beside what it begins with.
    timeout_s
        After so many seconds a child is ended.
    """

    def __init__(self, *, memory_bytes: int = 2 << 30, timeout_s: float = 600.0) -> None:
        self._memory_bytes = memory_bytes
        self._timeout_s = timeout_s
        self._lock = Lock()
        self._server: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None

    def scan(
        self,
        path: Path,
        format: DatasetFormat,  # noqa: A002 - the field's word
        budgets: Budgets,
        options: CsvOptions = AS_IT_IS,
    ) -> TableSchema:
        """Describe every column of a file; see ``datasets.scan.scan``.

        Raises
        ------
        InvalidInputError
            The file is not what it should be, or the process that read it crashed or came to a bound.
        OverBudgetError
            It has too many columns, or unpacks to too much.
        UnavailableError
            No process could be made.
        """
        if format not in COLUMNAR and path.stat().st_size <= _SMALL_BYTES:
            return scan(path, format, budgets, options)
        request = {
            "path": str(path),
            "format": format,
            "budgets": asdict(budgets),
            "options": options.to_json(),
            "memory_bytes": self._memory_bytes,
            "timeout_s": self._timeout_s,
        }
        for _ in range(_TRIES):
            answer, code = self._ask(json.dumps(request).encode())
            if answer is not None:
                return _schema(json.loads(answer))
            if code is not None:
                raise self._explained(code)
        raise UnavailableError("the process that reads uploads was ended from outside, twice; try again")

    def close(self) -> None:
        """End the process that waits; files that are being looked through are given up."""
        with self._lock:
            self._stop()

    def _ask(self, request: bytes) -> tuple[bytes | None, int | None]:
        """Let a child do it; return its answer if it gave one, and its exit code if it is known."""
        ours, theirs = socket.socketpair()
        with ours:
            with theirs, self._lock:
                try:
                    socket.send_fds(self._serving(), [request], [theirs.fileno()])
                except OSError:  # it was killed meanwhile: another one is made
                    self._stop()
                    socket.send_fds(self._serving(), [request], [theirs.fileno()])
            ours.settimeout(self._timeout_s + _GRACE_S)
            content = bytearray()
            try:
                while chunk := ours.recv(1 << 16):
                    content += chunk
            except TimeoutError:
                return None, -signal.SIGALRM
        answer, ended, code = bytes(content).rpartition(b"\n")
        return (answer if ended else None), (int(code) if code else None)

    def _serving(self) -> socket.socket:
        if self._channel is not None and self._server is not None and self._server.poll() is None:
            return self._channel
        self._stop()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", "dropout_service.datasets.reader.server", str(theirs.fileno())]
        try:
            with theirs:
                self._server = subprocess.Popen(  # noqa: S603 - our own command
                    command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, env=os.environ | _SPARING
                )
        except OSError as error:
            ours.close()
            raise UnavailableError(f"no process can be made that reads the file: {error.strerror}") from error
        self._channel = ours
        return ours

    def _stop(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._server is not None:
            self._server.wait()  # it ends when its channel does
            self._server = None

    def _explained(self, code: int) -> InvalidInputError:
        if code == -signal.SIGALRM:
            return InvalidInputError(f"the file took longer than {self._timeout_s:g} s to look through")
        if code < 0:
            name = signal.Signals(-code).name
            return InvalidInputError(f"the reader ended by signal {-code} ({name}); the file is damaged, or too large")
        return InvalidInputError(f"the reader ended with code {code}; the file is damaged, or too large")


def _schema(answer: dict[str, Any]) -> TableSchema:
    match answer:
        case {"schema": schema}:
            return TableSchema.from_json(schema)
        case {"excess": excess, "message": message}:
            raise OverBudgetError(message, Excess(**excess))
        case _:
            raise InvalidInputError(answer["message"], errors=[FieldError(**fault) for fault in answer["errors"]])
