"""What the application opens at start and every request can reach."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypedDict

from dropout_service.budgets import Budgets

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from dropout_service.api.compute import ComputePool
    from dropout_service.api.readiness import Readiness
    from dropout_service.blobs import BlobStore
    from dropout_service.datasets.reader import Reader
    from dropout_service.datasets.registry import DatasetRegistry
    from dropout_service.jobs.store import JobStore
    from dropout_service.jobs.watch import Watcher
    from dropout_service.models.registry import ModelRegistry

__all__ = ["Limits", "State"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of what one request may ask for.

    Parameters
    ----------
    max_body_bytes
        Largest request body, but for dataset uploads.
    max_dataset_bytes
        Largest dataset upload.
    kernel_threads
        Threads of one dropout computation; ``None`` for one for each core.
    job_memory_bytes
        Memory of a training process; ``None`` for no limit.
    budgets
        What one request may allocate and compute.
    """

    max_body_bytes: int = 1 << 28
    max_dataset_bytes: int = 1 << 32
    kernel_threads: int | None = None
    job_memory_bytes: int | None = None
    budgets: Budgets = field(default_factory=Budgets)


class State(TypedDict):
    """The lifespan state; ``api.dependencies`` hands its parts to the routes."""

    database: Engine
    blobs: BlobStore
    jobs: JobStore
    datasets: DatasetRegistry
    reader: Reader
    models: ModelRegistry
    watcher: Watcher
    compute: ComputePool
    limits: Limits
    readiness: Readiness
