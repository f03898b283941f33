"""``Presence``: a file that stays locked as long as any process of a dispatcher lives.

The forkserver and the attempts inherit the lock, so whoever can take it knows that none of them is left, and need not
wait until their leases run out. A lock is believed only within one boot of one machine, where the kernel keeps it.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import quote, unquote

if TYPE_CHECKING:
    from collections.abc import Container
    from types import TracebackType

__all__ = ["Presence"]

_BOOT = Path("/proc/sys/kernel/random/boot_id")


class Presence:
    """The presence of one dispatcher, and what it can tell of the others; a context manager.

    Parameters
    ----------
    folder
        Where the files of all dispatchers of this machine are; made when missing.
    name
        The name of this dispatcher, as the rows of its jobs have it.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self.name = name
        self._boot = _boot_id()
        folder.mkdir(parents=True, exist_ok=True)
        self.descriptor = os.open(self._path(name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self.descriptor, fcntl.LOCK_EX)
        os.write(self.descriptor, self._boot.encode())

    def is_gone(self, name: str) -> bool:
        """Whether it is certain that no process of another dispatcher lives."""
        if name == self.name or not self._boot:
            return False
        try:
            descriptor = os.open(self._path(name), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return os.read(descriptor, len(self._boot) + 1) == self._boot.encode()
        except OSError:  # BlockingIOError: somebody holds it
            return False
        finally:
            os.close(descriptor)

    def sweep(self, needed: Container[str]) -> None:
        """Remove the files of dispatchers that are gone, but for those with a name that is still needed."""
        for path in self._folder.iterdir():
            name = unquote(path.name)
            if name not in needed and self.is_gone(name):
                path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._path(self.name).unlink()
        os.close(self.descriptor)

    def _path(self, name: str) -> Path:
        return self._folder / quote(name, safe="")


def _boot_id() -> str:
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""
