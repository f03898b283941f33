"""Jobs: submit, list, read and wait, watch."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from dropout_service.api.dependencies import Compute, Datasets, Jobs, RequestLimits, Watch
from dropout_service.api.http.bodies import declared_length
from dropout_service.api.http.idempotency import Idempotent
from dropout_service.api.http.json_objects import read_json_object
from dropout_service.api.http.media_types import JSON, accepted_media_type, body_media_type
from dropout_service.api.http.pages import Page, PageQuery
from dropout_service.api.http.problems import problem_responses
from dropout_service.api.http.validation_errors import validated
from dropout_service.api.jobs import control
from dropout_service.api.jobs.schemas import EventPage, EventReport, JobReport, JobRequest, MetricsPage
from dropout_service.datasets.inline import from_arrays
from dropout_service.datasets.loading import check, check_readable
from dropout_service.datasets.resolution import complete
from dropout_service.errors import ConflictError, InvalidInputError, NotFoundError
from dropout_service.jobs.job import MIN_MEMORY_BYTES, THREAD_BYTES, JobStatus
from dropout_service.training.recipe import fill_in
from dropout_service.training.spec import DataSpec

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from sqlalchemy import Connection

    from dropout_service.api.http.idempotency import IdempotentCall
    from dropout_service.api.state import Limits
    from dropout_service.budgets import Budgets
    from dropout_service.datasets.dataset import Dataset
    from dropout_service.datasets.registry import DatasetRegistry
    from dropout_service.jobs.events import Event
    from dropout_service.jobs.history import AttemptRecord
    from dropout_service.jobs.job import Job
    from dropout_service.jobs.store import JobReads, JobRequests
    from dropout_service.jobs.watch import Watcher

__all__ = ["router"]

router = APIRouter(prefix="/jobs", tags=["jobs"])
router.include_router(control.router)

_SSE: Final = "text/event-stream"
_KEEP_ALIVE_S: Final = 15.0
_EVENTS_A_READ: Final = 500
_RETRY_AFTER_S: Final = 1
_SMALL_BYTES: Final = 32 * 1024
"""Up to this body size there is little to parse and to look through."""
_EXAMPLE: Final = '{"task": "regression", "data": {"dataset": "sha256-..."}}'

_EVENT_SCHEMA: Final = {
    "type": "object",
    "description": "A server-sent event.",
    "properties": {
        "event": {"type": "string", "description": "Its type."},
        "id": {"type": "string", "description": "Its sequence."},
        "data": {
            "type": "string",
            "contentMediaType": JSON,
            "contentSchema": {"$ref": "#/components/schemas/EventReport"},
        },
    },
    "required": ["data"],
}

_EXAMPLES: Final[dict[str, Any]] = {
    "arrays in place": {
        "summary": "A classification of eight rows",
        "value": {
            "name": "exclusive or",
            "task": "classification",
            "data": {
                "x": [[0, 0], [0, 1], [1, 0], [1, 1], [0, 0], [0, 1], [1, 0], [1, 1]],
                "y": ["equal", "different", "different", "equal", "equal", "different", "different", "equal"],
            },
            "model": {"hidden": [16], "dropout": 0.1},
            "optimizer": {"kind": "adam", "learning_rate": 0.01},
            "epochs": 20,
            "batch_size": 4,
            "validation_fraction": 0,
            "seed": 7,
        },
    },
    "how it is run": {
        "summary": "A regression that goes before others, within bounds of time and memory",
        "value": {
            "task": "regression",
            "data": {"x": [[0], [1], [2], [3], [4], [5], [6], [7]], "y": [1, 3, 5, 7, 9, 11, 13, 15]},
            "model": {"hidden": [8], "dropout": 0},
            "epochs": 20,
            "max_runtime_s": 60,
            "priority": 10,
            "max_memory_bytes": 2_000_000_000,
            "max_attempts": 5,
        },
    },
}


@router.post(
    "",
    operation_id="submit_job",
    summary="Submit a training job",
    status_code=202,
    response_model=JobReport,
    responses={
        202: {
            "headers": {
                "Location": {"description": "Path of the job.", "schema": {"type": "string"}},
                "Retry-After": {"description": "Seconds until it pays to ask.", "schema": {"type": "integer"}},
            }
        },
        **problem_responses(400, 409, 413, 415, 503, 507),
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {JSON: {"schema": {"$ref": "#/components/schemas/JobRequest"}, "examples": _EXAMPLES}},
        }
    },
)
async def submit_job(
    request: Request, *, jobs: Jobs, datasets: Datasets, compute: Compute, limits: RequestLimits, call: Idempotent
) -> Response:
    """Train a network on a stored dataset, or on arrays given in place.

    The specification is checked against the data before the job is accepted. An accepted job is never lost: it
    waits for its turn, runs in a process of its own, and goes on after a crash or a restart of the service.
    """
    body_media_type(request, [JSON])

    async def submission() -> Callable[[], Response]:
        return partial(_submit, await request.body(), jobs, datasets, limits, call)

    if declared_length(request) <= _SMALL_BYTES:
        return await run_in_threadpool(await submission())
    with compute.place() as place:
        return await place.run(request, await submission())


def _submit(
    content: bytes, jobs: JobRequests, datasets: DatasetRegistry, limits: Limits, call: IdempotentCall
) -> Response:
    with call as repeated:
        if repeated is not None:
            return repeated
        body = validated(JobRequest, read_json_object(content, _EXAMPLE, limits.budgets))
        _check_memory(body, limits.job_memory_bytes)
        resolved, dataset = _dataset(body, datasets, limits.budgets)
        spec = resolved.training(_stored_data(resolved.data, dataset))

        def in_transaction(connection: Connection, job: Job) -> None:
            _hold(dataset, body.data, datasets, connection)
            call.complete(connection, _accepted(job))

        return _accepted(jobs.submit(spec, body.options, in_transaction=in_transaction))


@router.get("", operation_id="list_jobs", summary="List jobs", responses=problem_responses())
def list_jobs(
    jobs: Jobs,
    page: PageQuery,
    status: Annotated[JobStatus | None, Query(description="Only jobs with this status.")] = None,
) -> Page[JobReport]:
    """Give the jobs, newest first, in pages."""
    found = jobs.list(limit=page.limit + 1, after=page.after, status=status)
    return Page[JobReport].of(found, limit=page.limit, key=lambda job: job.id, item=JobReport.of)


@router.get("/{job_id}", operation_id="get_job", summary="Read a job", responses=problem_responses(404))
async def get_job(
    job_id: str,
    jobs: Jobs,
    watch: Watch,
    wait: Annotated[
        float, Query(ge=0, le=60, description="Answer as soon as the job has ended, or after this many seconds.")
    ] = 0,
) -> JobReport:
    """Give a job as it stands, or wait for its end: `?wait=30`."""
    job, attempts = await run_in_threadpool(_read, job_id, jobs)
    if wait > 0 and not job.status.terminal:
        await watch.moved(job_id, after=job.last_sequence, timeout_s=wait, until_ended=True)
        job, attempts = await run_in_threadpool(_read, job_id, jobs)
    return JobReport.of(job, attempts)


@router.get(
    "/{job_id}/metrics",
    operation_id="get_job_metrics",
    summary="Read the metrics of each epoch",
    responses=problem_responses(404),
)
def get_job_metrics(
    job_id: str,
    jobs: Jobs,
    after: Annotated[int, Query(ge=0, le=2**31 - 1, description="Only epochs with a higher number.")] = 0,
    limit: Annotated[int, Query(ge=1, le=10_000, description="Largest number of epochs.")] = 10_000,
) -> MetricsPage:
    """Give the metrics of the epochs that are complete, in order."""
    found = jobs.metrics(job_id, after=after, limit=limit + 1)
    items = found[:limit]
    next_after = items[-1]["epoch"] if len(found) > limit else None
    return MetricsPage.model_validate({"items": items, "next_after": next_after})


@router.get(
    "/{job_id}/events",
    operation_id="get_job_events",
    summary="Watch a job",
    response_class=Response,
    responses={
        200: {
            "description": "A stream of events, or a page of them",
            "content": {
                _SSE: {
                    "schema": _EVENT_SCHEMA,
                    "example": 'event: started\ndata: {"sequence":2,"type":"started","at":"2026-11-22T09:30:00Z",'
                    '"data":{"attempt":1,"resumed":false}}\nid: 2\n\n',
                },
                JSON: {"schema": {"$ref": "#/components/schemas/EventPage"}},
            },
        },
        204: {"description": "The job has ended and there is nothing after `Last-Event-ID`: do not connect again"},
        **problem_responses(404, 406),
    },
)
async def get_job_events(
    request: Request,
    job_id: str,
    jobs: Jobs,
    watch: Watch,
    *,
    after: Annotated[int, Query(ge=0, le=2**31 - 1, description="Only events with a higher sequence.")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000, description="Largest number of events of a page.")] = 100,
    last_event_id: Annotated[
        int | None, Header(ge=0, le=2**31 - 1, description="Sequence of the last event received; as `after`.")
    ] = None,
) -> Response:
    """Follow a job by server-sent events, from the beginning or from `Last-Event-ID`, until it has ended.

    With `Accept: application/json`: a page of up to `limit` events after the sequence `after`.
    """
    since = after if last_event_id is None else last_event_id
    if accepted_media_type(request, (_SSE, JSON), default=_SSE) == JSON:
        found = await run_in_threadpool(jobs.events, job_id, after=since, limit=limit)
        if not found:
            _check_position(since, (await run_in_threadpool(jobs.get, job_id)).last_sequence, last_event_id)
        items = [EventReport.model_validate(event) for event in found]
        page = EventPage(items=items, next_after=items[-1].sequence if items else since)
        return Response(page.model_dump_json(), media_type=JSON)
    job = await run_in_threadpool(jobs.get, job_id)
    _check_position(since, job.last_sequence, last_event_id)
    if job.status.terminal and since == job.last_sequence:
        return Response(status_code=204)  # what keeps an EventSource from connecting again and again
    return StreamingResponse(
        _stream(job_id, since, jobs, watch),
        media_type=_SSE,
        headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
    )


def _check_position(since: int, last_sequence: int, last_event_id: int | None) -> None:
    """Refuse a position that this job never had: waiting for what follows it would look as if nothing happened."""
    if since > last_sequence:
        raise InvalidInputError.at(
            "/after" if last_event_id is None else "/Last-Event-ID",
            f"the latest event of this job is {last_sequence}; got {since}, which is not of this job",
        )


def _read(job_id: str, jobs: JobReads) -> tuple[Job, Sequence[AttemptRecord]]:
    return jobs.get(job_id), jobs.attempts(job_id)


async def _stream(job_id: str, after: int, jobs: JobReads, watch: Watcher) -> AsyncGenerator[bytes]:
    """Yield the events as frames; between two reads, this holds neither a thread nor a connection."""
    while True:
        try:
            job = await run_in_threadpool(jobs.get, job_id)
            events = await run_in_threadpool(jobs.events, job_id, after=after, limit=_EVENTS_A_READ)
        except NotFoundError:  # deleted meanwhile
            return
        if events:
            yield b"".join(_frame(event) for event in events)
            after = events[-1].sequence
        elif job.status.terminal:
            return
        elif not await watch.moved(job_id, after=after, timeout_s=_KEEP_ALIVE_S):
            if watch.closed:  # the client connects again, to whoever serves then
                return
            yield KEEPALIVE_COMMENT


def _frame(event: Event) -> bytes:
    report = EventReport.model_validate(event)
    return format_sse_event(data_str=report.model_dump_json(), event=event.type, id=str(event.sequence))


def _dataset(spec: JobRequest, datasets: DatasetRegistry, budgets: Budgets) -> tuple[JobRequest, Dataset]:
    """Return the dataset of a job, and the job with every decision about it, once the training is known to fit it.

    Arrays in place are stored only then.
    """
    data = spec.data
    if data.x is not None and data.y is not None:
        width = len(data.x[0]) if data.x else 0
        budgets.check("columns", 1 + width, pointer="/data/x")
        filled_in = fill_in(spec, rows=len(data.x), inputs=width)
        return filled_in, datasets.add_content(
            from_arrays(data.x, data.y), name=spec.name, accept=lambda schema: check(schema, filled_in, budgets)
        )
    try:
        dataset = datasets.get(data.dataset or "")
    except NotFoundError as error:
        raise InvalidInputError.at("/data/dataset", error.message) from error
    check_readable(dataset)
    resolved = complete(dataset.schema, dataset.format, spec)
    check(dataset.schema, resolved, budgets)
    return resolved, dataset


def _hold(dataset: Dataset, given: DataSpec, datasets: DatasetRegistry, connection: Connection) -> None:
    """Lock the dataset, so that it is not deleted before the job that needs it is recorded."""
    try:
        datasets.hold(connection, dataset.id)
    except NotFoundError as error:
        if given.dataset is None:
            raise ConflictError("the arrays were deleted before the job was accepted; send them again") from error
        raise InvalidInputError.at("/data/dataset", error.message) from error


def _check_memory(body: JobRequest, granted_bytes: int | None) -> None:
    """Refuse a limit that cannot be had, or that BLAS would answer with a crash instead of an error."""
    asked_bytes = body.max_memory_bytes
    if asked_bytes is None:
        return
    if granted_bytes is not None and asked_bytes > granted_bytes:
        raise InvalidInputError.at(
            "/max_memory_bytes", f"this service grants a job at most {granted_bytes} bytes; got {asked_bytes}"
        )
    needed_bytes = MIN_MEMORY_BYTES + THREAD_BYTES * (body.threads - 1)
    if asked_bytes < needed_bytes:
        raise InvalidInputError.at(
            "/max_memory_bytes",
            f"a training process with {body.threads} threads needs {needed_bytes} bytes before it has any data; "
            f"got {asked_bytes}",
        )


def _stored_data(data: DataSpec, dataset: Dataset) -> DataSpec:
    return data if data.x is None else DataSpec(dataset=dataset.id)


def _accepted(job: Job) -> Response:
    headers = {"Location": f"/jobs/{job.id}", "Retry-After": str(_RETRY_AFTER_S)}
    return Response(JobReport.of(job, ()).model_dump_json(), status_code=202, headers=headers, media_type=JSON)
