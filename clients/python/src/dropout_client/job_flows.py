"""What can be done with jobs, as flows; :mod:`dropout_client.jobs` makes methods of them."""

from __future__ import annotations

import json
import time
import uuid
from typing import TYPE_CHECKING, Any, Unpack, cast

from dropout_client import arrays
from dropout_client.datasets import upload_dataset
from dropout_client.errors import APIConnectionError, ConflictError, UnavailableError, UnexpectedResponseError
from dropout_client.flows import Emit, Pause, Request, read, send
from dropout_client.job_errors import JobCancelledError, JobFailedError, WaitTimeoutError
from dropout_client.paging import pages
from dropout_client.records import EpochMetrics, Event, Failure, JobRecord
from dropout_client.retries import backoff_s
from dropout_client.sse import FrameDecoder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dropout_client.flows import Flow, Response, Stream
    from dropout_client.spec import DataSpec, JobRequest, TrainingSpec

__all__ = [
    "cancel_job",
    "delete_job",
    "follow_job",
    "get_job",
    "job_events",
    "job_metrics",
    "list_jobs",
    "pause_job",
    "resume_job",
    "submit_job",
    "succeeded",
]

_LONGEST_OUTAGE_S = 120.0
_EVENT_STREAM = "text/event-stream"
_NO_CONTENT = 204


def submit_job(
    spec: JobRequest | TrainingSpec | Mapping[str, Any] | None = None,
    *,
    idempotency_key: str | None = None,
    **fields: Unpack[JobRequest],
) -> Flow[JobRecord]:
    """Submit a training.

    Parameters
    ----------
    spec
        The specification, as a dictionary.
    idempotency_key
        Submitting again with the same key and specification gives the same job. Drawn if left out.
    fields
        Fields of the specification, in place of ``spec`` or laid over it; and ``priority``, ``max_memory_bytes`` and
        ``max_attempts``, which say how it is to be run.

    Returns
    -------
    Job
        Queued; ``wait`` for it, or follow its ``events``.

    Examples
    --------
    >>> job = client.jobs.submit(
    ...     task="classification",
    ...     data={"x": features, "y": labels},
    ...     model={"hidden": [64, 64], "dropout": 0.3},
    ...     epochs=60,
    ... )
    """
    document: dict[str, Any] = {**(spec or {}), **fields}
    if isinstance(document.get("data"), dict):
        document["data"] = yield from _stored(cast("DataSpec", document["data"]))
    response = yield from send(
        Request(
            method="POST",
            path="/jobs",
            headers={
                "Content-Type": "application/json",
                "Idempotency-Key": idempotency_key or str(uuid.uuid4()),
            },
            body=json.dumps(document, allow_nan=False, default=arrays.plain).encode(),
        )
    )
    return JobRecord.from_json(response.json())


def get_job(job_id: str, *, wait_s: float | None = None) -> Flow[JobRecord]:
    """Read a job as it stands.

    Parameters
    ----------
    job_id
        The job.
    wait_s
        Let the service answer as soon as the job has ended, and after this many seconds at the latest.
    """
    response = yield from send(
        Request(method="GET", path=f"/jobs/{job_id}", params={"wait": wait_s}, patience_s=wait_s or 0.0)
    )
    return JobRecord.from_json(response.json())


def list_jobs(*, status: str | None = None, limit: int | None = None) -> Stream[JobRecord]:
    """Iterate the jobs, newest first, fetching pages as needed.

    Parameters
    ----------
    status
        Only jobs in this state.
    limit
        The most to give.
    """
    return pages("/jobs", JobRecord.from_json, limit=limit, status=status)


def cancel_job(job_id: str) -> Flow[JobRecord]:
    """Ask a job to end. It is ``cancelled`` a moment later; to a job that is already, nothing happens."""
    try:
        response = yield from send(Request(method="POST", path=f"/jobs/{job_id}/cancel"))
    except ConflictError:
        # Also what a repetition hears when the answer to the first attempt was lost.
        job = yield from get_job(job_id)
        if job.status != "cancelled":
            raise
        return job
    return JobRecord.from_json(response.json())


def pause_job(job_id: str) -> Flow[JobRecord]:
    """Ask a job to pause. A running one is ``paused`` once it has written a checkpoint."""
    response = yield from send(Request(method="POST", path=f"/jobs/{job_id}/pause"))
    return JobRecord.from_json(response.json())


def resume_job(job_id: str) -> Flow[JobRecord]:
    """Let a paused job go on."""
    response = yield from send(Request(method="POST", path=f"/jobs/{job_id}/resume"))
    return JobRecord.from_json(response.json())


def delete_job(job_id: str, *, model: bool = False) -> Flow[None]:
    """Delete a job that has ended; its model stays, unless ``model`` says otherwise."""
    yield from send(Request(method="DELETE", path=f"/jobs/{job_id}", params={"model": model or None}))


def job_metrics(job_id: str) -> Flow[tuple[EpochMetrics, ...]]:
    """Read the metrics of every epoch so far."""
    metrics: list[EpochMetrics] = []
    after: int | None = 0
    while after is not None:
        response = yield from send(Request(method="GET", path=f"/jobs/{job_id}/metrics", params={"after": after}))
        page = response.json()
        metrics += [EpochMetrics.from_json(item) for item in page.get("items", ())]
        after = page.get("next_after")
    return tuple(metrics)


def follow_job(job_id: str, tell: Callable[[JobRecord], None], *, every_s: float, timeout: float | None) -> Flow[None]:
    """Tell the job's state now and then, and last when it has ended.

    A service that is away for a while, because it is being restarted, say, does not end the waiting: jobs outlive it.

    Parameters
    ----------
    job_id
        The job.
    tell
        Called with each state.
    every_s
        Longest time between two states. The end is told at once, whatever this is.
    timeout
        Seconds after which to stop waiting.

    Raises
    ------
    WaitTimeoutError
        The job has not ended in time. It runs on.
    APIConnectionError, UnavailableError
        The service has been away for too long.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    contact = _Contact()
    while True:
        left_s = None if deadline is None else max(0.0, deadline - time.monotonic())
        try:
            job = yield from get_job(job_id, wait_s=every_s if left_s is None else min(every_s, left_s))
        except (APIConnectionError, UnavailableError):
            if left_s == 0 or contact.lost:
                raise
            yield contact.pause()
            continue
        contact.heard()
        tell(job)
        if job.finished:
            return
        if left_s == 0:
            raise WaitTimeoutError(f"job {job_id} is {job.status} after {timeout:g} s; it runs on")


def succeeded(job: JobRecord) -> JobRecord:
    """Give the job back if it has succeeded.

    Raises
    ------
    JobFailedError
        It failed.
    JobCancelledError
        It was cancelled.
    """
    if job.status == "failed":
        raise JobFailedError(job.id, job.failure or Failure(code=job.stop_reason or "unknown"))
    if job.status == "cancelled":
        raise JobCancelledError(job.id)
    return job


def job_events(job_id: str, *, after: int = 0) -> Stream[Event]:
    """Iterate what happens to a job until it has ended.

    A connection that breaks is taken up again after the last event that came, so that none is lost or doubled.

    Parameters
    ----------
    job_id
        The job.
    after
        Sequence number of the last event that is already known.

    Raises
    ------
    APIConnectionError, UnavailableError
        The service has been away for too long.
    """
    contact = _Contact()
    while True:
        headers = {"Accept": _EVENT_STREAM} | ({"Last-Event-ID": str(after)} if after else {})
        request = Request(method="GET", path=f"/jobs/{job_id}/events", headers=headers, stream=True)
        try:
            response = yield from send(request)
            if response.status_code == _NO_CONTENT:  # the job has ended, and all of it is known
                return
            _check_events(response, job_id)
            contact.answered()
            decoder = FrameDecoder()
            while chunk := (yield from read()):
                contact.heard()
                for frame in decoder.feed(chunk):
                    event = _event(frame.data)
                    if event.sequence <= after:
                        continue
                    after = event.sequence
                    yield Emit(event)
                    if event.final:
                        return
        except (APIConnectionError, UnavailableError):
            if contact.lost:
                raise
        yield contact.pause()


def _check_events(response: Response, job_id: str) -> None:
    """Refuse what is not a stream of events: reading on would give none for ever."""
    kind = response.headers.get("content-type", "no content type")
    if kind.partition(";")[0].strip() != _EVENT_STREAM:
        raise UnexpectedResponseError(f"the events of job {job_id} came as {kind}, not as {_EVENT_STREAM}")


def _event(data: str) -> Event:
    try:
        document = json.loads(data)
    except ValueError as error:
        raise UnexpectedResponseError(f"an event is not JSON: {data[:80]!r}") from error
    return Event.from_json(document)


def _stored(data: DataSpec) -> Flow[dict[str, Any]]:
    """Upload what is local, and name the stored dataset in its place."""
    document: dict[str, Any] = dict(data)
    file, x, y = document.pop("file", None), document.pop("x", None), document.pop("y", None)
    if file is None and x is None and y is None:
        return document
    dataset = yield from upload_dataset(file, x=x, y=y)
    return {"dataset": dataset.id, **document}


class _Contact:
    """When the service was last heard, and how long to pause before it is asked again."""

    def __init__(self) -> None:
        self.heard()

    def answered(self) -> None:
        """Note that the service is there."""
        self._at = time.monotonic()

    def heard(self) -> None:
        """Note that it also had something to say, so that it need not be left alone for long."""
        self.answered()
        self._pauses = 0

    @property
    def lost(self) -> bool:
        """Whether the service has been away for too long."""
        return time.monotonic() - self._at > _LONGEST_OUTAGE_S

    def pause(self) -> Pause:
        """Wait, longer each time until it is heard."""
        self._pauses += 1
        return Pause(backoff_s(self._pauses - 1))
