"""Errors as RFC 9457 problem documents: the one table, the schema, and the exception handlers."""

from __future__ import annotations

import http
import logging
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from dropout_service.api.http.validation_errors import MOST_ERRORS, field_errors, summary
from dropout_service.database.outages import OUTAGES, explain_outage
from dropout_service.errors import (
    ConflictError,
    Excess,
    FieldError,
    InvalidInputError,
    NotAcceptableError,
    NotFoundError,
    OverBudgetError,
    OverloadedError,
    ServiceError,
    StorageFullError,
    TooLargeError,
    TrainingError,
    UnavailableError,
    UnsupportedMediaTypeError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fastapi import FastAPI
    from sqlalchemy.exc import SQLAlchemyError
    from starlette.requests import Request
    from starlette.types import Scope

__all__ = [
    "PROBLEM_MEDIA_TYPE",
    "Problem",
    "ProblemDetails",
    "error_response",
    "install_problem_handlers",
    "problem_response",
    "problem_responses",
]

PROBLEM_MEDIA_TYPE: Final = "application/problem+json"

logger = logging.getLogger(__name__)


class ProblemError(BaseModel):
    """One fault of the request."""

    pointer: str = Field(
        description="JSON pointer (RFC 6901) into the body; for a query parameter or a tensor of a binary body, `/` "
        "and its name.",
        examples=["/rate"],
    )
    message: str = Field(description="What is wrong there and what would be right.")


class ProblemExcess(BaseModel):
    """What was asked for, beside the limit that it is above."""

    setting: str = Field(
        description="The environment variable that sets the limit.", examples=["DROPOUT_SERVICE_MAX_COLUMNS"]
    )
    limit: int = Field(description="What this service allows.", examples=[10_000])
    value: int = Field(description="What the request asked for.", examples=[1_000_000])


class ProblemDetails(BaseModel):
    """What went wrong, as RFC 9457 describes it."""

    model_config = ConfigDict(title="Problem")

    type: str = Field(description="Name of the kind of problem, stable and made for programs.")
    title: str = Field(description="The kind of problem in words.")
    status: int = Field(description="HTTP status code.")
    detail: str = Field(description="What was wrong with this request, and what would be right.")
    instance: str = Field(description="The path that was asked for.")
    request_id: str | None = Field(description="The `X-Request-ID` of the answer; the log names it too.")
    errors: list[ProblemError] = Field(default_factory=list, description="The faults, one for each place.")
    excess: ProblemExcess | None = Field(
        default=None,
        exclude_if=lambda value: value is None,
        description="Of `over-budget`: the limit and what was asked for.",
    )


@dataclass(frozen=True, slots=True)
class Problem:
    """A kind of problem: HTTP status and title."""

    status: int
    title: str


PROBLEMS: Final[Mapping[type[ServiceError], Problem]] = {
    InvalidInputError: Problem(422, "The input is not valid"),
    OverBudgetError: Problem(422, "The request asks for more than this service allows"),
    NotFoundError: Problem(404, "There is no such resource"),
    ConflictError: Problem(409, "The request contradicts the present state"),
    TooLargeError: Problem(413, "The body is too large"),
    UnsupportedMediaTypeError: Problem(415, "The content type is not supported"),
    NotAcceptableError: Problem(406, "No acceptable representation"),
    UnavailableError: Problem(503, "The service cannot answer now"),
    OverloadedError: Problem(503, "The service does as much as it can at once"),
    StorageFullError: Problem(507, "There is no room left to write"),
    TrainingError: Problem(422, "The training cannot go on"),
    ServiceError: Problem(500, "The service failed"),
}


def problem_response(
    scope: Scope,
    *,
    code: str,
    problem: Problem,
    detail: str,
    errors: Sequence[FieldError] = (),
    excess: Excess | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Build the response for a problem."""
    document = ProblemDetails(
        type=f"urn:dropout-service:problem:{code}",
        title=problem.title,
        status=problem.status,
        detail=detail,
        instance=scope["path"],
        request_id=scope.get("state", {}).get("request_id"),
        errors=[ProblemError(pointer=error.pointer, message=error.message) for error in errors],
        excess=None if excess is None else ProblemExcess(**asdict(excess)),
    )
    # A pointer or detail may quote what the client sent, lone surrogates included, which UTF-8 cannot carry.
    body = document.model_dump_json(ensure_ascii=True)
    return Response(body, status_code=problem.status, headers=headers, media_type=PROBLEM_MEDIA_TYPE)


def error_response(scope: Scope, error: ServiceError) -> Response:
    """Build the response for one of our errors."""
    problem = next(PROBLEMS[kind] for kind in type(error).__mro__ if kind in PROBLEMS)
    headers: dict[str, str] = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s)
    if problem.status == http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        # The body may be unread, so the connection cannot carry another request; the server would read on to its end.
        headers["Connection"] = "close"
    return problem_response(
        scope,
        code=error.code,
        problem=problem,
        detail=summary(error.errors) if _tells_one_place(error) else error.message,
        errors=error.errors[:MOST_ERRORS],
        excess=error.excess if isinstance(error, OverBudgetError) else None,
        headers=headers,
    )


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe the problems that an operation answers, for the ``responses=`` of its route.

    Parameters
    ----------
    statuses
        HTTP status codes such as 404 and 409. A rejected input (422) is always among them.
    """
    return {status: _described(status) for status in sorted({*statuses, 422})}


def install_problem_handlers(app: FastAPI) -> None:
    """Let the application answer every error with a problem document."""
    app.add_exception_handler(ServiceError, _service_error)
    for outage in OUTAGES:
        app.add_exception_handler(outage, _database_outage)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)


async def _service_error(request: Request, error: Exception) -> Response:
    return error_response(request.scope, cast("ServiceError", error))


async def _database_outage(request: Request, error: Exception) -> Response:
    logger.warning("%s %s: %s", request.method, request.url.path, error)
    return error_response(request.scope, explain_outage(cast("SQLAlchemyError", error)))


def _tells_one_place(error: ServiceError) -> bool:
    """Whether the message is that of the only fault: then it is told with its place, as Pydantic's faults are."""
    return [fault.message for fault in error.errors] == [error.message]


async def _validation_error(request: Request, error: Exception) -> Response:
    error = cast("RequestValidationError", error)
    errors = field_errors(error.errors(), error.body)
    return problem_response(
        request.scope,
        code=InvalidInputError.code,
        problem=PROBLEMS[InvalidInputError],
        detail=summary(errors),
        errors=errors,
    )


async def _http_error(request: Request, error: Exception) -> Response:
    error = cast("HTTPException", error)
    status = http.HTTPStatus(error.status_code)
    detail, headers = error.detail, error.headers
    if status == http.HTTPStatus.NOT_FOUND and detail == status.phrase:
        detail = f"there is nothing at {request.scope['path']}; /docs lists every operation"
    elif status == http.HTTPStatus.METHOD_NOT_ALLOWED and detail == status.phrase:
        allowed = ", ".join(sorted(_methods(request)))
        headers = {**(headers or {}), "Allow": allowed}
        detail = f"{request.method} is not possible at {request.scope['path']}; use {allowed}"
    code, title = _of_http(status)
    return problem_response(
        request.scope,
        code=code,
        problem=Problem(status.value, title),
        detail=detail,
        headers=headers,
    )


def _methods(request: Request) -> set[str]:
    """Return the methods of every route at the path: Starlette names those of the first one only."""
    scope = {**request.scope, "method": ""}
    routes = iter_route_contexts(request.app.routes)
    found = {method for route in routes if route.matches(scope)[0] is not Match.NONE for method in route.methods or ()}
    return found | {"HEAD"} if "GET" in found else found


def _described(status: int) -> dict[str, Any]:
    code, title = next(
        ((kind.code, problem.title) for kind, problem in PROBLEMS.items() if problem.status == status),
        _of_http(http.HTTPStatus(status)),
    )
    return {
        "description": title,
        "content": {
            PROBLEM_MEDIA_TYPE: {
                "schema": {"$ref": "#/components/schemas/ProblemDetails"},
                "example": {
                    "type": f"urn:dropout-service:problem:{code}",
                    "title": title,
                    "status": status,
                    "detail": title,
                    "instance": "/",
                    "request_id": "b9b7d0c2a5f64f0e",
                    "errors": [],
                },
            }
        },
    }


def _of_http(status: http.HTTPStatus) -> tuple[str, str]:
    """Return code and title of a problem that is no error of ours but the framework's."""
    return status.phrase.lower().replace(" ", "-"), status.phrase
