"""``BlobStore``: named byte strings in a local folder, in memory, or in S3; uploads, checkpoints, model weights.

obstore does the talking. One thing it does not do for a local folder is to sync: a file that it has written can be
empty after a power cut, although its name is there. Jobs promise more than that, so local writes are made here:
a scratch file, ``fsync``, an atomic rename, and ``fsync`` of the folders.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, from_url

from dropout_service.errors import NotFoundError, UnavailableError, without_paths

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    from obstore.store import ObjectStore

__all__ = ["BlobStore"]

_SCRATCH = ".scratch"
_SCRATCH_LIFETIME_S = 24 * 3600.0
_RACES = 8
_CHUNK_BYTES = 1 << 20

logger = logging.getLogger(__name__)


class BlobStore:
    """Blobs by key, such as ``jobs/<id>/<token>/checkpoint-3``.

    A put is atomic: readers see the old blob, or the whole new one. When it returns, a local blob is on the disk.

    Parameters
    ----------
    url
        ``file:///folder`` (made when missing), ``memory:///`` (gone with the process; for tests), or
        ``s3://bucket/prefix``, which takes credentials, region and endpoint from the usual ``AWS_*`` variables.
    scratch_dir
        Where uploads are spooled when the store is not a local folder, which has its own. Default: the system's
        folder for temporary files.

    Raises
    ------
    UnavailableError
        The folder cannot be made or read, or the URL is of no store.
    """

    def __init__(self, url: str, *, scratch_dir: Path | str | None = None) -> None:
        self.url = url
        with _failing(f"cannot open the blob store {url}"):
            self._store, self._root = _connect(url)
            if self._root is not None:
                self.scratch_dir = self._root / _SCRATCH
                self.scratch_dir.mkdir(exist_ok=True)
                _sweep(self.scratch_dir)
            else:
                self.scratch_dir = Path(scratch_dir or tempfile.gettempdir())

    def put(self, key: str, data: bytes | bytearray | memoryview) -> None:
        """Store ``data`` under ``key``, in place of what was there.

        Raises
        ------
        StorageFullError
            The disk is full.
        UnavailableError
            The disk or the object store does not do as it should.
        """
        self.put_stream(key, (data,))

    def put_stream(self, key: str, chunks: Iterable[bytes | bytearray | memoryview]) -> int:
        """Store the chunks as one blob, without holding more than a few of them in memory.

        Returns
        -------
        int
            Size of the blob in bytes.

        Raises
        ------
        StorageFullError
            The disk is full.
        UnavailableError
            The disk or the object store does not do as it should.
        """
        size = 0
        with self.scratch() as file:
            with _failing(f"cannot write blob `{key}`"):
                for chunk in chunks:
                    size += file.write(chunk)
            self.put_file(key, file)
        return size

    @contextmanager
    def scratch(self) -> Generator[IO[bytes]]:
        """Open a new file for ``put_file``; whatever happens, it is gone afterwards.

        Raises
        ------
        StorageFullError
            The disk is full; also when that shows in what is done while the file is open.
        UnavailableError
            The disk does not do as it should.
        """
        with _failing("cannot write a scratch file"):
            file = tempfile.NamedTemporaryFile(dir=self.scratch_dir, delete=False)  # noqa: SIM115 - closed below
            try:
                yield file
            finally:
                with suppress(OSError):  # put_file has written it out, or it is not wanted
                    file.close()
                with suppress(FileNotFoundError):  # put_file has moved it
                    Path(file.name).unlink()

    def put_file(self, key: str, file: IO[bytes]) -> None:
        """Store what was written to a ``scratch`` file; a local store moves the file and copies nothing.

        Raises
        ------
        StorageFullError
            The disk is full.
        UnavailableError
            The disk or the object store does not do as it should.
        """
        with _failing(f"cannot write blob `{key}`"):
            file.flush()
            if self._root is None:
                obstore.put(self._store, key, Path(file.name))
            else:
                os.fsync(file.fileno())
                _move(Path(file.name), self._root / key, root=self._root)

    def get(self, key: str) -> bytes:
        """Read a blob.

        Raises
        ------
        NotFoundError
            There is no such blob.
        """
        with _reading(key):
            return bytes(obstore.get(self._store, key).bytes())

    def get_range(self, key: str, start: int, end: int) -> bytes:
        """Read the bytes from ``start`` up to, not including, ``end``.

        Raises
        ------
        NotFoundError
            There is no such blob.
        """
        if start == end:
            return b""
        with _reading(key):
            return bytes(obstore.get_range(self._store, key, start=start, end=end))

    def stream(self, key: str, start: int, end: int) -> Iterator[bytes]:
        """Read the bytes from ``start`` up to, not including, ``end``, in chunks of 1 MiB.

        Raises
        ------
        NotFoundError
            There is no such blob.
        """
        for position in range(start, end, _CHUNK_BYTES):
            yield self.get_range(key, position, min(position + _CHUNK_BYTES, end))

    @contextmanager
    def as_file(self, key: str) -> Generator[Path]:
        """Give the blob as a file, to be read or memory-mapped: itself when it is local, else a copy.

        Raises
        ------
        NotFoundError
            There is no such blob.
        """
        if self._root is not None:
            if not self.exists(key):
                raise NotFoundError(f"there is no blob `{key}`")
            yield self._root / key
            return
        with self.scratch() as file:
            with _reading(key):
                file.writelines(obstore.get(self._store, key))
                file.flush()
            yield Path(file.name)

    def size(self, key: str) -> int:
        """Size of a blob in bytes.

        Raises
        ------
        NotFoundError
            There is no such blob.
        """
        with _reading(key):
            return obstore.head(self._store, key)["size"]

    def exists(self, key: str) -> bool:
        """Whether there is such a blob."""
        try:
            self.size(key)
        except NotFoundError:
            return False
        return True

    def delete(self, key: str) -> None:
        """Remove a blob; none there is as good."""
        with _failing(f"cannot delete blob `{key}`"), suppress(FileNotFoundError):
            obstore.delete(self._store, key)

    def discard(self, key: str) -> None:
        """Remove a blob that nothing names any more, if that can be done now; else a sweep does it later."""
        try:
            self.delete(key)
        except UnavailableError as error:
            logger.warning("%s; it stays for now", error)

    def discard_folder(self, prefix: str) -> None:
        """Remove the blobs in a folder, as ``discard`` does."""
        try:
            keys = self.list(prefix)
        except UnavailableError as error:
            logger.warning("%s; they stay for now", error)
            return
        for key in keys:
            self.discard(key)

    def list(self, prefix: str) -> list[str]:
        """Keys of the blobs in the folder ``prefix`` and in the folders beneath it, sorted."""
        with _failing(f"cannot list blobs in `{prefix}`"):
            return sorted(meta["path"] for chunk in obstore.list(self._store, prefix) for meta in chunk)


def _connect(url: str) -> tuple[ObjectStore, Path | None]:
    if url.startswith("file://"):
        store = LocalStore.from_url(url, mkdir=True, automatic_cleanup=True)
        return store, store.prefix or Path("/")
    if url.startswith("memory:"):
        return from_url(url), None
    # obstore's own default is to retry for three minutes: longer than a lease or a request lasts.
    return from_url(url, retry_config={"max_retries": 5, "retry_timeout": timedelta(seconds=30)}), None


def _move(source: Path, target: Path, *, root: Path) -> None:
    """Rename a synced file to its key and sync every folder on the way, which may be new."""
    for attempt in range(_RACES):
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            source.replace(target)
        except (FileNotFoundError, FileExistsError):
            # A delete has just cleaned up the folder, empty until now; mkdir may have met it while it was going.
            if attempt == _RACES - 1:
                raise
        else:
            break
    folder = target.parent
    while True:
        _sync_folder(folder)
        if folder == root:
            return
        folder = folder.parent


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sweep(folder: Path) -> None:
    """Remove what processes that were killed in the middle of a write have left."""
    for path in folder.iterdir():
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > _SCRATCH_LIFETIME_S:
                path.unlink()


@contextmanager
def _reading(key: str) -> Generator[None]:
    with _failing(f"cannot read blob `{key}`"):
        try:
            yield
        except FileNotFoundError as error:
            raise NotFoundError(f"there is no blob `{key}`") from error


@contextmanager
def _failing(what: str) -> Generator[None]:
    """Turn a failure of the disk or of the object store into an error that says what could not be done."""
    try:
        yield
    except OSError as error:
        raise UnavailableError.of_disk(what, error) from error
    except BaseError as error:
        raise UnavailableError(f"{what}: {without_paths(str(error).splitlines()[0])}") from error
