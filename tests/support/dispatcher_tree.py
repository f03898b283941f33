"""A dispatcher of its own, as a tree of real processes beside an API, that a test may freeze and kill."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import psutil
from service_tree import BRISK, PATIENCE_S, alive, variables, wait_for

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from service_tree import ServiceTree

__all__ = ["DispatcherTree"]


class DispatcherTree:
    """`dropout-service dispatch` over the stores of a service; a context manager that runs it.

    Its data folder is its own, so that it knows as little of other dispatchers as one on another machine would.

    Parameters
    ----------
    service
        Whose jobs it runs.
    data_dir
        Its folder.
    environment
        Variables of the processes.
    settings
        Settings that differ from the brisk ones.
    """

    def __init__(
        self, service: ServiceTree, data_dir: Path, *, environment: Mapping[str, str] | None = None, **settings: Any
    ) -> None:
        self._database = service.data_dir / "dropout.sqlite3"
        stores = {
            "database_url": f"sqlite:///{self._database}",
            "blob_url": (service.data_dir / "blobs").as_uri(),
        }
        self._environment = {**os.environ, **variables({**BRISK, **stores, **settings}), **(environment or {})}
        self._command = [sys.executable, "-m", "dropout_service", "dispatch", "--data-dir", str(data_dir)]
        self._log = data_dir.with_name(f"{data_dir.name}.log")

    def __enter__(self) -> Self:
        with self._log.open("ab") as sink:
            self._popen = subprocess.Popen(
                self._command, env=self._environment, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT
            )
        self.process = psutil.Process(self._popen.pid)
        wait_for(lambda: self.process.children() or not alive(self.process), "the forkserver")
        assert alive(self.process), self._log.read_text()[-4000:]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def attempts(self) -> list[psutil.Process]:
        """Return the processes of the attempts."""
        return [child for forkserver in self.process.children() for child in forkserver.children() if alive(child)]

    def freeze(self) -> None:
        """Suspend every process of the tree, as a machine that is suspended does.

        Not while one of them holds the write lock of SQLite: until it wakes up nobody could write, and that is so.
        """
        while True:
            for process in [self.process, *self.process.children(recursive=True)]:
                process.suspend()
            if self._can_write():
                return
            self.thaw()

    def _can_write(self) -> bool:
        with closing(sqlite3.connect(self._database, timeout=0.5, isolation_level=None)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return False
            connection.execute("ROLLBACK")
            return True

    def thaw(self) -> None:
        """Let every process go on that is still there."""
        for process in [*self.process.children(recursive=True), self.process]:
            with suppress(psutil.NoSuchProcess):
                process.resume()

    def kill(self) -> None:
        """Kill -9 of every process of the tree."""
        if self._popen.poll() is None:
            for process in [self.process, *self.process.children(recursive=True)]:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        self._popen.wait(PATIENCE_S)
