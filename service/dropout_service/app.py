"""The composition root: settings in, application out."""

from __future__ import annotations

import logging
import os
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Final

from fastapi import Depends
from fastapi.routing import iter_route_contexts
from fastapi_offline import FastAPIOffline
from starlette.concurrency import run_in_threadpool

from dropout_service import __version__
from dropout_service.api import health
from dropout_service.api.arrays.json import EncodedArray
from dropout_service.api.compute import ComputePool
from dropout_service.api.datasets import routes as datasets
from dropout_service.api.dependencies import known_query
from dropout_service.api.dropout import routes as dropout
from dropout_service.api.dropout.openapi import REQUESTS
from dropout_service.api.dropout.schemas import BackwardAnswer, ForwardAnswer
from dropout_service.api.http.body_limit import BodyLimit, BodyLimitMiddleware
from dropout_service.api.http.bytes_in_flight import BytesInFlightMiddleware
from dropout_service.api.http.conditional import ConditionalMiddleware
from dropout_service.api.http.openapi import describe
from dropout_service.api.http.origins import OriginMiddleware
from dropout_service.api.http.problems import install_problem_handlers
from dropout_service.api.http.request_id import RequestIdMiddleware
from dropout_service.api.jobs import routes as jobs
from dropout_service.api.jobs.schemas import EventPage, JobRequest
from dropout_service.api.models import routes as models
from dropout_service.api.models.predictions import PredictionRequest
from dropout_service.api.readiness import Readiness
from dropout_service.api.state import Limits
from dropout_service.blobs import BlobStore
from dropout_service.database.changes import detect_changes
from dropout_service.database.engine import open_database
from dropout_service.database.migrate import upgrade
from dropout_service.datasets.reader import Reader
from dropout_service.datasets.registry import DatasetRegistry
from dropout_service.jobs.sql import SqlJobStore
from dropout_service.jobs.watch import Watcher
from dropout_service.kernels.codegen import compile_cache
from dropout_service.models.registry import ModelRegistry

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from fastapi import FastAPI

    from dropout_service.api.state import State
    from dropout_service.settings import Settings

__all__ = ["configure_kernels", "create_app"]

_DESCRIPTION: Final = """
Dropout on arrays, forward and backward, with masks that follow from a seed; training jobs of neural networks with
dropout; predictions that tell how sure they are.

Arrays travel as JSON, as `application/x-npy` or as `application/vnd.safetensors`; the binary forms are exact and far
faster. Errors are `application/problem+json` (RFC 9457) and point to what is wrong. Every answer has an
`X-Request-ID`.
"""

_TAGS: Final = [
    {"name": "dropout", "description": "Dropout on an array, and its exact gradient."},
    {"name": "datasets", "description": "Tables and arrays to train on, stored once, with a report of what they hold."},
    {"name": "jobs", "description": "Trainings: submitted, watched, cancelled."},
    {"name": "models", "description": "Trained networks: read, downloaded, asked for predictions."},
    {"name": "health", "description": "For whoever restarts and routes."},
]

logger = logging.getLogger(__name__)


def create_app(settings: Settings) -> FastAPI:
    """Assemble the application.

    Parameters
    ----------
    settings
        Read once by the caller; nothing below reads the environment.

    Returns
    -------
    FastAPI
        Its lifespan migrates the database, opens the stores and compiles the kernels in the background.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[State]:
        # FastAPI would build these at the first request, and change the process's warning filters for a moment; so
        # does the thread that compiles kernels, and a warning that was to be ignored gets out.
        list(iter_route_contexts(app.routes))
        with ExitStack() as stack:
            state = await run_in_threadpool(_open_state, settings, stack)
            # Servers drain connections before they end the lifespan, and a connection that waits would not drain.
            app.state.stop_waiting = state["watcher"].close
            app.state.readiness = state["readiness"]
            yield state

    app = FastAPIOffline(
        title="Dropout service",
        version=__version__,
        summary="Dropout over HTTP and durable training jobs.",
        description=_DESCRIPTION,
        openapi_tags=_TAGS,
        redoc_url=None,
        swagger_ui_parameters={"validatorUrl": None},  # else the page asks a server elsewhere about this document
        lifespan=lifespan,
    )
    install_problem_handlers(app)
    app.add_middleware(BytesInFlightMiddleware, max_bytes=settings.max_bytes_in_flight, on_disk=["/datasets"])
    app.add_middleware(
        BodyLimitMiddleware,
        limit=BodyLimit("DROPOUT_SERVICE_MAX_BODY_BYTES", settings.max_body_bytes),
        json_limit=BodyLimit("DROPOUT_SERVICE_MAX_JSON_BYTES", settings.max_json_bytes),
        by_path={"/datasets": BodyLimit("DROPOUT_SERVICE_MAX_DATASET_BYTES", settings.max_dataset_bytes)},
    )
    app.add_middleware(ConditionalMiddleware)
    app.add_middleware(OriginMiddleware, hosts=settings.hosts, origins=settings.origins)
    app.add_middleware(RequestIdMiddleware)  # added last: outermost
    app.include_router(dropout.router)
    for module in (datasets, jobs, models, health):
        app.include_router(module.router, dependencies=[Depends(known_query)])
    describe(app, [*REQUESTS, EncodedArray, ForwardAnswer, BackwardAnswer, EventPage, JobRequest, PredictionRequest])
    return app


def configure_kernels(settings: Settings) -> None:
    """Tell the kernels where compiled code is kept, before the first of them runs."""
    places = settings.kernel_cache_dir
    compile_cache.configure(*(Path(place) for place in (places or "").split(os.pathsep) if place))


def _open_state(settings: Settings, stack: ExitStack) -> State:
    configure_kernels(settings)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    upgrade(settings.database_url)
    database = open_database(settings.database_url)
    stack.callback(database.dispose)
    blobs = BlobStore(settings.blob_url, scratch_dir=settings.data_dir)
    store = SqlJobStore(database)
    wake_up = Event()
    changes = stack.enter_context(detect_changes(database, wake_up))
    watcher = stack.enter_context(Watcher(store, changes.changed, wake_up))
    compute = ComputePool(settings.compute_threads, settings.compute_queue)
    stack.callback(compute.close)
    readiness = Readiness("kernels")
    # A daemon: compiling takes seconds on the very first start, and must not hold up the end of the process.
    Thread(target=_warm_kernels, args=(readiness,), name="warm-kernels", daemon=True).start()
    reader = Reader(
        memory_bytes=settings.reader_memory_bytes,
        timeout_s=settings.reader_timeout_s,
        scratch_dir=blobs.scratch_dir,
    )
    stack.callback(reader.close)
    return {
        "database": database,
        "blobs": blobs,
        "jobs": store,
        "datasets": DatasetRegistry(database, blobs, settings.budgets, scan=reader.scan),
        "reader": reader,
        "models": ModelRegistry(database, blobs),
        "watcher": watcher,
        "compute": compute,
        "limits": Limits(
            max_body_bytes=settings.max_body_bytes,
            max_dataset_bytes=settings.max_dataset_bytes,
            kernel_threads=settings.kernel_threads,
            job_memory_bytes=settings.job_memory_bytes,
            budgets=settings.budgets,
        ),
        "readiness": readiness,
    }


def _warm_kernels(readiness: Readiness) -> None:
    try:
        report = compile_cache.warm()
    except Exception as error:  # the thread's boundary: a service without kernels is not ready, and says why
        logger.exception("the kernels cannot be compiled")
        readiness.failed("kernels", str(error))
    else:
        logger.info("kernels: %d compiled, %d loaded; new ones go to %s", report.compiled, report.loaded, report.folder)
        readiness.met("kernels")
