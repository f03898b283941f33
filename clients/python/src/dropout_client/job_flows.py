"""What can be done with jobs, as flows; :mod:`dropout_client.jobs` makes methods of them."""

from __future__ import annotations

import json
import time
import uuid
from typing import TYPE_CHECKING, Any, Unpack, cast

from dropout_client.datasets import upload_dataset
from dropout_client.errors import (
    APIConnectionError,
    JobCancelledError,
    JobFailedError,
    UnavailableError,
    UnexpectedResponseError,
    WaitTimeoutError,
)
from dropout_client.flows import Emit, Pause, Request, read, send
from dropout_client.paging import pages
from dropout_client.records import EpochMetrics, Event, Failure, JobRecord
from dropout_client.retries import backoff_s
from dropout_client.sse import FrameDecoder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dropout_client.flows import Flow, Stream
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

_MOST_BREAKS = 10
_LONGEST_OUTAGE_S = 120.0
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
            body=json.dumps(document, allow_nan=False, default=_plain).encode(),
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
    """Ask a job to end. It is ``cancelled`` a moment later."""
    response = yield from send(Request(method="POST", path=f"/jobs/{job_id}/cancel"))
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


def follow_job(job_id: str, *, every_s: float, timeout: float | None) -> Stream[JobRecord]:
    """Give the job's state now and then, and last when it has ended.

    A service that is away for a while, because it is being restarted, say, does not end the waiting: jobs outlive it.

    Parameters
    ----------
    job_id
        The job.
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
    begin = answered_at = time.monotonic()
    deadline = None if timeout is None else begin + timeout
    failures = 0
    while True:
        left_s = None if deadline is None else max(0.0, deadline - time.monotonic())
        try:
            job = yield from get_job(job_id, wait_s=every_s if left_s is None else min(every_s, left_s))
        except (APIConnectionError, UnavailableError):
            if left_s == 0 or time.monotonic() - answered_at > _LONGEST_OUTAGE_S:
                raise
            yield Pause(backoff_s(failures))
            failures += 1
            continue
        answered_at, failures = time.monotonic(), 0
        yield Emit(job)
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
    """
    breaks = 0
    while breaks <= _MOST_BREAKS:
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": str(after)} if after else {})
        request = Request(method="GET", path=f"/jobs/{job_id}/events", headers=headers, stream=True)
        try:
            response = yield from send(request)
            if response.status_code == _NO_CONTENT:  # the job has ended, and all of it is known
                return
            decoder = FrameDecoder()
            while chunk := (yield from read()):
                for frame in decoder.feed(chunk):
                    event = _event(frame.data)
                    if event.sequence <= after:
                        continue
                    after, breaks = event.sequence, 0
                    yield Emit(event)
                    if event.final:
                        return
        except (APIConnectionError, UnavailableError):
            if breaks == _MOST_BREAKS:
                raise
        yield Pause(backoff_s(breaks))
        breaks += 1
    raise UnexpectedResponseError(f"the events of job {job_id} end before the job does")


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


def _plain(value: Any) -> Any:
    """Make JSON of what it does not know: NumPy numbers and arrays, sequences of other types."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, set | frozenset):
        raise TypeError("a set has no order; give a list")
    return list(value)
