"""Liveness and readiness, for whoever restarts and routes."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field

from dropout_service.api.dependencies import state_of
from dropout_service.api.readiness import Readiness

__all__ = ["router"]

router = APIRouter(tags=["health"])


class Liveness(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class ReadinessReport(BaseModel):
    """Whether requests should be sent here, with each condition."""

    status: Literal["ready", "not ready"] = Field(description="`ready` when every check is `ok`.")
    checks: dict[str, str] = Field(
        description="Each condition: `ok`, `pending` or `failed: ...`.", examples=[{"kernels": "ok", "database": "ok"}]
    )


def _readiness(request: Request) -> Readiness:
    return state_of(request)["readiness"]


@router.get("/livez", operation_id="livez", summary="Is the process alive?")
async def livez() -> Liveness:
    """Answer at once, whatever else the service does."""
    return Liveness()


@router.get(
    "/readyz",
    operation_id="readyz",
    summary="Is the service ready for requests?",
    responses={503: {"model": ReadinessReport, "description": "Not ready yet, or no longer"}},
)
async def readyz(readiness: Annotated[Readiness, Depends(_readiness)], response: Response) -> ReadinessReport:
    """Answer 200 when the database is migrated and the kernels are compiled, otherwise 503."""
    ready = readiness.ready
    response.status_code = 200 if ready else 503
    return ReadinessReport(status="ready" if ready else "not ready", checks=readiness.states)
