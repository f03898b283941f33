"""``Sweep``: removes blobs that belong to no row, such as a model whose process was killed before it was recorded.

A blob is written before the row that names it, so one without a row may simply be young. It is removed only when it
was without one at two looks, far enough apart that whoever wrote it has long lost its lease or its request. Only the
time between two looks of this process counts, so no two clocks have to agree; and an outage of the database, in which
nobody could have written a row, begins the count anew.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from dropout_service.database.outages import OUTAGES, explain_outage
from dropout_service.errors import NotFoundError, UnavailableError
from dropout_service.jobs.job import BLOB_FOLDER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import TracebackType
    from typing import Self

    from dropout_service.blobs import BlobStore
    from dropout_service.database.references import Owners
    from dropout_service.jobs.store import JobReads

__all__ = ["Sweep", "Sweeper"]

logger = logging.getLogger(__name__)


class Sweep:
    """Looks for blobs without a row, and removes those that had none long before.

    Parameters
    ----------
    blobs, jobs
        The stores.
    datasets, models
        Which blobs their rows name.
    age_s
        Seconds after which a blob without a row is removed; more than any lease or request lasts.
    clock
        Seconds since any moment, never set back.
    """

    def __init__(
        self,
        blobs: BlobStore,
        jobs: JobReads,
        datasets: Owners,
        models: Owners,
        *,
        age_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._blobs = blobs
        self._jobs = jobs
        self._datasets = datasets
        self._models = models
        self._age_s = age_s
        self._clock = clock
        self._seen: dict[str, float] = {}

    def look(self) -> Sequence[str]:
        """Look at every blob once; return the keys of those that were removed."""
        now = self._clock()
        without_row = {
            *self._models.unowned(self._blobs.list("models")),
            *self._datasets.unowned(self._blobs.list("datasets")),
            *self._left_by_attempts(self._blobs.list(BLOB_FOLDER)),
        }
        self._seen = {key: self._seen.get(key, now) for key in sorted(without_row)}
        old = [key for key, since in self._seen.items() if now - since >= self._age_s]
        for key in old:
            self._blobs.delete(key)
            del self._seen[key]
        return old

    def forget(self) -> None:
        """Begin to count anew."""
        self._seen.clear()

    def _left_by_attempts(self, keys: Iterable[str]) -> Iterable[str]:
        """Give the checkpoints that no job will resume from: neither named by its row nor of the attempt that runs."""
        by_job: dict[str, list[str]] = {}
        for key in keys:
            by_job.setdefault(key.split("/")[1], []).append(key)
        for job_id, found in by_job.items():
            try:
                job = self._jobs.get(job_id)
            except NotFoundError:
                yield from found
                continue
            running = f"{job.blob_prefix}/{job.attempt}/" if job.status.active else None
            for key in found:
                if key not in job.checkpoints and (running is None or not key.startswith(running)):
                    yield key


class Sweeper:
    """A thread that sweeps now and then; a context manager.

    Parameters
    ----------
    sweep
        What to do.
    every_s
        Seconds between two looks.
    """

    def __init__(self, sweep: Sweep, *, every_s: float) -> None:
        self._sweep = sweep
        self._every_s = every_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep_sweeping, name="sweeper", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()

    def _keep_sweeping(self) -> None:
        while not self._stopping.wait(self._every_s):
            try:
                for key in self._sweep.look():
                    logger.info("removed blob %s, which belonged to nothing", key)
            except OUTAGES as error:
                logger.warning("%s", explain_outage(error))
                self._sweep.forget()
            except UnavailableError as error:
                logger.warning("files that belong to nothing stay for now: %s", error)
