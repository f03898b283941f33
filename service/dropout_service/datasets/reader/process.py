"""``Reader``: reads files in processes that are forked for it, and tells how they ended."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import asdict
from tempfile import NamedTemporaryFile
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dropout_service.datasets.dataset import AS_IT_IS, TableSchema
from dropout_service.errors import (
    Excess,
    FieldError,
    InvalidInputError,
    OverBudgetError,
    StorageFullError,
    UnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from dropout_service.budgets import Budgets
    from dropout_service.datasets.dataset import ColumnarFormat, CsvOptions, DatasetFormat
    from dropout_service.datasets.rows.feature import Feature

__all__ = ["Reader"]

_GRACE_S: Final = 10.0
_TRIES: Final = 2
_SPARING: Final = {"ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "2"}
"""Environment in which little more address space is reserved than used: PyArrow's own allocator begins with a GiB."""


class Reader:
    """Reads files of strangers, each in a process of its own, with bounds of memory and time.

    A process with all that is needed imported waits from the first file on, and forks one child for each.

    Parameters
    ----------
    memory_bytes
        What a child may allocate beside what it begins with.
    timeout_s
        After so many seconds a child is ended.
    scratch_dir
        Folder of the files through which rows to predict go; ``None`` for the system's.
    """

    def __init__(
        self, *, memory_bytes: int = 2 << 30, timeout_s: float = 600.0, scratch_dir: Path | None = None
    ) -> None:
        self._memory_bytes = memory_bytes
        self._timeout_s = timeout_s
        self._scratch_dir = scratch_dir
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
        found = self._read({"path": str(path), "format": format, "options": options.to_json()}, budgets)
        return TableSchema.from_json(found["schema"])

    def rows(
        self,
        content: bytes | memoryview,
        format: ColumnarFormat,  # noqa: A002 - the field's word
        features: Sequence[Feature],
        budgets: Budgets,
        *,
        max_chars: int,
    ) -> tuple[NDArray[np.float64], tuple[tuple[str, ...], ...]]:
        """Read rows to predict from a Parquet or Arrow IPC file; see ``datasets.rows.table.write_rows``.

        Returns
        -------
        x
            Shape (rows, features).
        texts
            For each feature the texts that its values are indices of.

        Raises
        ------
        InvalidInputError
            The file is not what it should be, a feature is missing or mistyped, or the process that read it crashed or
            came to a bound.
        OverBudgetError
            It has too many columns, cells or texts.
        StorageFullError
            The disk has no room for the rows.
        UnavailableError
            No process could be made, or the disk does not do as it should.
        """
        asked = json.dumps([asdict(feature) for feature in features]).encode()
        with ExitStack() as stack:
            path = self._file(stack, content)
            into = self._file(stack)
            request = {
                "path": path,
                "format": format,
                "features": self._file(stack, asked),  # more than a message may hold
                "into": into,
                "max_chars": max_chars,
            }
            texts = self._read(request, budgets)["texts"]
            return np.fromfile(into).reshape(-1, len(features)), tuple(map(tuple, texts))

    def _file(self, stack: ExitStack, content: bytes | memoryview = b"") -> str:
        """Make a file that is gone with the stack, and return its path."""
        try:
            file = stack.enter_context(NamedTemporaryFile(dir=self._scratch_dir))  # noqa: SIM115 - as said
            file.write(content)
            file.flush()
        except OSError as error:
            raise UnavailableError.of_disk("cannot write rows to predict", error) from error
        return file.name

    def close(self) -> None:
        """End the process that waits; files that are being looked through are given up."""
        with self._lock:
            self._stop()

    def _read(self, request: dict[str, Any], budgets: Budgets) -> dict[str, Any]:
        """Let a child do what is asked, and return its answer or raise its error."""
        bounds = {"budgets": asdict(budgets), "memory_bytes": self._memory_bytes, "timeout_s": self._timeout_s}
        message = json.dumps(request | bounds).encode()
        for _ in range(_TRIES):
            answer, code = self._ask(message)
            if answer is not None:
                return _checked(json.loads(answer))
            if code is not None:
                raise self._explained(code)
        raise UnavailableError("the process that reads files was ended from outside, twice; try again")

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
            return InvalidInputError(f"the file took longer than {self._timeout_s:g} s to read")
        if code < 0:
            name = signal.Signals(-code).name
            return InvalidInputError(f"the reader ended by signal {-code} ({name}); the file is damaged, or too large")
        return InvalidInputError(f"the reader ended with code {code}; the file is damaged, or too large")


def _checked(answer: dict[str, Any]) -> dict[str, Any]:
    match answer:
        case {"excess": excess, "message": message}:
            raise OverBudgetError(message, Excess(**excess))
        case {"full": full, "message": message}:
            raise (StorageFullError if full else UnavailableError)(message)
        case {"errors": errors, "message": message}:
            raise InvalidInputError(message, errors=[FieldError(**fault) for fault in errors])
        case _:
            return answer
