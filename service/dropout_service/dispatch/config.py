"""What a dispatcher and its attempts need to know; handed from process to process as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

__all__ = ["ARRAY_BYTES", "LOG_FORMAT", "MESSAGE_BYTES", "DispatchConfig"]

ARRAY_BYTES = 1 << 26
"""A larger array of a training is in a mapped file, unless a setting says otherwise."""

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
MESSAGE_BYTES = 65_536
"""Bound of a message between the dispatcher and its forkserver."""


@dataclass(frozen=True, slots=True)
class DispatchConfig:
    """The values of the settings that concern dispatching.

    Parameters
    ----------
    database_url, blob_url
        Where jobs and blobs are kept.
    workers
        Attempts that run at the same time.
    heartbeat_s
        Longest time between two signs of life of an attempt.
    lease_s
        Time without a sign of life after which an attempt is taken for lost.
    checkpoint_s
        Time between two checkpoints of an attempt.
    cancel_grace_s
        Time an attempt has to stop when it is cancelled, before it is killed.
    shutdown_grace_s
        Time the attempts have to write their checkpoints when the dispatcher stops, before they are killed.
    poll_s
        Interval at which the dispatcher looks for something to do.
    sweep_s
        Time between two looks for blobs that belong to nothing.
    memory_limit_bytes
        Memory of one attempt, without what it maps of files; ``None`` for no limit.
    array_bytes
        The largest array of a training in memory; a larger one is in a mapped file.
    presence_dir
        Folder on this machine by which its dispatchers know that another one is gone; with ``None`` they wait until
        its leases run out.
    kernel_cache_dir
        Folder of compiled kernels; ``None`` for the default.
    scratch_dir
        Where blobs are spooled when their store is not a local folder; ``None`` for the system's folder.
    log_level
        Least severe log messages to write.
    """

    database_url: str
    blob_url: str
    workers: int = 1
    heartbeat_s: float = 1.0
    lease_s: float = 15.0
    checkpoint_s: float = 30.0
    cancel_grace_s: float = 0.5
    shutdown_grace_s: float = 10.0
    poll_s: float = 0.05
    sweep_s: float = 3600.0
    memory_limit_bytes: int | None = None
    array_bytes: int = ARRAY_BYTES
    presence_dir: str | None = None
    kernel_cache_dir: str | None = None
    scratch_dir: str | None = None
    log_level: str = "info"

    def to_json(self) -> str:
        """Write the configuration for another process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> DispatchConfig:
        """Read what :meth:`to_json` wrote."""
        return cls(**json.loads(text))
