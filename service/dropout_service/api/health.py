"""Liveness and readiness probes."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field
from sqlalchemy import literal, select
from sqlalchemy.exc import SQLAlchemyError

from dropout_service.api.dependencies import Database, state_of
from dropout_service.api.http.problems import problem_responses
from dropout_service.database.engine import reading

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


@router.get("/livez", operation_id="livez", summary="Is the process alive?", responses=problem_responses())
async def livez() -> Liveness:
    """Answer at once, whatever else the service does."""
    return Liveness()


@router.get(
    "/readyz",
    operation_id="readyz",
    summary="Is the service ready for requests?",
    responses={
        503: {"model": ReadinessReport, "description": "Not ready yet, or no longer"},
        **problem_responses(),
    },
)
def readyz(request: Request, database: Database, response: Response) -> ReadinessReport:
    """Answer 200 when the kernels are compiled and the database answers, otherwise 503."""
    checks = state_of(request)["readiness"].states
    try:
        with reading(database) as connection:
            connection.execute(select(literal(1)))
        checks["database"] = "ok"
    except SQLAlchemyError:
        checks["database"] = "failed: no answer"
    ready = all(state == "ok" for state in checks.values())
    response.status_code = 200 if ready else 503
    return ReadinessReport(status="ready" if ready else "not ready", checks=checks)
