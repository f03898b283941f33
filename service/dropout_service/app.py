"""The composition root: settings in, application out."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast

from fastapi import FastAPI

from dropout_service.api import dropout, health
from dropout_service.api.body_limit import BodyLimitMiddleware
from dropout_service.api.problems import install_problem_handlers
from dropout_service.api.readiness import Readiness
from dropout_service.api.request_id import RequestIdMiddleware
from dropout_service.api.state import Limits

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from dropout_service.api.state import State
    from dropout_service.settings import Settings

__all__ = ["create_app"]


def create_app(settings: Settings) -> FastAPI:
    """Assemble the application.

    Parameters
    ----------
    settings
        Read once by the caller; nothing below reads the environment.
    """

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncGenerator[State]:
        limits = Limits(
            max_body_bytes=settings.max_body_bytes,
            max_dataset_bytes=settings.max_dataset_bytes,
            kernel_threads=settings.kernel_threads,
        )
        yield cast("State", {"limits": limits, "readiness": Readiness()})

    app = FastAPI(title="Dropout service", lifespan=lifespan)
    install_problem_handlers(app)
    app.add_middleware(
        BodyLimitMiddleware,
        max_bytes=settings.max_body_bytes,
        by_path={"/datasets": settings.max_dataset_bytes},
    )
    app.add_middleware(RequestIdMiddleware)  # added last: outermost
    app.include_router(dropout.router)
    app.include_router(health.router)
    return app
