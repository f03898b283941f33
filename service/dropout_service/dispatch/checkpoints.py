"""The checkpoints of one attempt, in the blob store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dropout_service.jobs.lifecycle import KEPT_CHECKPOINTS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dropout_service.blobs import BlobStore
    from dropout_service.jobs.job import Job

__all__ = ["Checkpoints"]


class Checkpoints:
    """Checkpoints under keys of the attempt's own, which no other overwrites; the row names those that count.

    Parameters
    ----------
    blobs
        Where they are kept.
    job
        The job as its attempt found it, with the checkpoints that the row names.
    """

    def __init__(self, blobs: BlobStore, job: Job) -> None:
        self._blobs = blobs
        self._folder = f"{job.blob_prefix}/{job.attempt}"
        self._named = list(job.checkpoints)
        self._written = 0

    def write(self, state: bytes) -> str:
        """Write a checkpoint; it is on the disk when this returns, and counts once the row names its key."""
        self._written += 1
        key = f"{self._folder}/checkpoint-{self._written}"
        self._blobs.put(key, state)
        return key

    def forget(self, keys: Iterable[str]) -> None:
        """Take note that the row no longer names these, which cannot be read, and drop them."""
        for key in keys:
            self._named.remove(key)
            self._blobs.discard(key)

    def keep(self, key: str) -> None:
        """Take note that the row names ``key`` first by now, and drop what it no longer names."""
        self._named.insert(0, key)
        while len(self._named) > KEPT_CHECKPOINTS:
            self._blobs.discard(self._named.pop())
