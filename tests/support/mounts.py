"""A file system of a test's own, in a mount namespace that only the test's processes see."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

__all__ = ["SmallDisk"]


class SmallDisk:
    """A tmpfs of a few megabytes at a folder; a context manager that holds the namespace.

    Parameters
    ----------
    folder
        Where the processes find it. Everybody else finds an empty folder there, and the disk at `seen_from_outside`.
    size_bytes
        Its size.
    """

    def __init__(self, folder: Path, size_bytes: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._size_bytes = size_bytes
        self._as_root = ["-r"] if os.geteuid() else []

    def __enter__(self) -> Self:
        mount = f'mount -t tmpfs -o size={self._size_bytes} tmpfs "$0" && echo mounted && exec cat'
        self._holder = subprocess.Popen(
            ["unshare", "--mount", *self._as_root, "sh", "-c", mount, str(self.folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != "mounted\n":
            _, errors = self._holder.communicate()
            pytest.skip(f"this system does not let a test mount a file system of its own: {errors.strip()}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._holder.communicate()

    @property
    def inside(self) -> list[str]:
        """What to put before a command that shall see the disk."""
        user = ["--user", "--preserve-credentials"] if self._as_root else []
        return ["nsenter", "--target", str(self._holder.pid), *user, "--mount", "--"]

    @property
    def seen_from_outside(self) -> Path:
        """The folder as this process can reach it."""
        return Path(f"/proc/{self._holder.pid}/root{self.folder}")

    def fill(self) -> None:
        """Leave no room at all."""
        with (self.seen_from_outside / "filler").open("wb", buffering=0) as filler:
            for size in (1 << 16, 4096, 1):
                try:
                    while True:
                        filler.write(b"x" * size)
                except OSError:
                    continue

    def make_room(self) -> None:
        (self.seen_from_outside / "filler").unlink()

    def make_read_only(self, folder: Path) -> None:
        """Let nothing be written beneath a folder, but for files that are open already."""
        self._run("mount", "--bind", str(folder), str(folder))
        self._run("mount", "-o", "remount,bind,ro", str(folder))

    def make_writable(self, folder: Path) -> None:
        self._run("umount", str(folder))

    def _run(self, *command: str) -> None:
        subprocess.run([*self.inside, *command], check=True)
