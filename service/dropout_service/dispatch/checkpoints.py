"""The checkpoints of one attempt, in the blob store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dropout_service.jobs.lifecycle import KEPT_CHECKPOINTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dropout_service.blobs import BlobStore
    from dropout_service.jobs.attempts import Attempt

__all__ = ["Checkpoints", "blob_prefix"]


def blob_prefix(job_id: str) -> str:
    """Folder of what the attempts of a job keep until it has ended."""
    return f"jobs/{job_id}"


class Checkpoints:
    """Checkpoints under keys of the attempt's own, which no other overwrites; the row names those that count.

    Parameters
    ----------
    blobs
        Where they are kept.
    attempt
        The attempt.
    named
        Keys that the row names, newest first.
    """

    def __init__(self, blobs: BlobStore, attempt: Attempt, named: Sequence[str]) -> None:
        self._blobs = blobs
        self._attempt = attempt
        self._named = list(named)
        self._written = 0

    def write(self, state: bytes) -> str:
        """Write a checkpoint; it is on the disk when this returns, and counts once the row names its key."""
        self._written += 1
        key = f"{blob_prefix(self._attempt.job_id)}/{self._attempt.token}/checkpoint-{self._written}"
        self._blobs.put(key, state)
        return key

    def keep(self, key: str) -> None:
        """Take note that the row names ``key`` first by now, and drop what it no longer names."""
        self._named.insert(0, key)
        while len(self._named) > KEPT_CHECKPOINTS:
            self._blobs.delete(self._named.pop())
