"""The errors of the client.

::

    DropoutError
    ├── APIConnectionError          no answer: refused, dropped, unreadable
    │   └── APITimeoutError         no answer in time
    ├── APIStatusError              the service answered, with a problem document
    │   ├── BadRequestError             400
    │   ├── AuthenticationError         401
    │   ├── PermissionDeniedError       403
    │   ├── NotFoundError               404
    │   ├── NotAcceptableError          406
    │   ├── ConflictError               409  the request contradicts the present state
    │   ├── TooLargeError               413
    │   ├── UnsupportedMediaTypeError   415
    │   ├── UnprocessableEntityError    422  the payload is wrong: see ``.problem.errors``
    │   ├── RateLimitError              429
    │   └── InternalServerError         5xx
    │       └── UnavailableError        503
    ├── UnexpectedResponseError     an answer that is not of this service, or not what it promised
    ├── WaitTimeoutError            a job was not finished in the time given; it runs on
    └── JobError                    a job ended without a model
        ├── JobFailedError              with the failure's code, epoch and hint
        └── JobCancelledError
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dropout_client.records import Failure

__all__ = [
    "APIConnectionError",
    "APIStatusError",
    "APITimeoutError",
    "AuthenticationError",
    "BadRequestError",
    "ConflictError",
    "DropoutError",
    "FieldError",
    "InternalServerError",
    "JobCancelledError",
    "JobError",
    "JobFailedError",
    "NotAcceptableError",
    "NotFoundError",
    "PermissionDeniedError",
    "Problem",
    "RateLimitError",
    "TooLargeError",
    "UnavailableError",
    "UnexpectedResponseError",
    "UnprocessableEntityError",
    "UnsupportedMediaTypeError",
    "WaitTimeoutError",
    "status_error",
]


@dataclass(frozen=True, slots=True)
class FieldError:
    """One fault of a payload: the JSON pointer of its place, and what would be right there."""

    pointer: str
    message: str


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem document (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    instance: str | None = None
    errors: tuple[FieldError, ...] = ()


class DropoutError(Exception):
    """Base of every error that the client raises on purpose."""


class APIConnectionError(DropoutError):
    """The service could not be reached, or the connection broke."""


class APITimeoutError(APIConnectionError):
    """The service did not answer in time."""


class APIStatusError(DropoutError):
    """The service answered with an error status.

    Attributes
    ----------
    status_code
        The HTTP status.
    problem
        The problem document; made from the status when the answer was not one.
    request_id
        The id under which the service's log has the request.
    """

    def __init__(self, status_code: int, problem: Problem, request_id: str | None) -> None:
        self.status_code = status_code
        self.problem = problem
        self.request_id = request_id
        super().__init__(status_code, problem, request_id)

    def __str__(self) -> str:
        return _describe(self.problem, self.request_id)


class BadRequestError(APIStatusError):
    """400: the request cannot be read."""


class AuthenticationError(APIStatusError):
    """401: the credentials are missing or wrong."""


class PermissionDeniedError(APIStatusError):
    """403: the credentials do not allow this."""


class NotFoundError(APIStatusError):
    """404: there is no such resource."""


class NotAcceptableError(APIStatusError):
    """406: the service has no representation that the request accepts."""


class ConflictError(APIStatusError):
    """409: the request contradicts the present state of the resource."""


class TooLargeError(APIStatusError):
    """413: the body is larger than the service allows."""


class UnsupportedMediaTypeError(APIStatusError):
    """415: the service does not read this content type here."""


class UnprocessableEntityError(APIStatusError):
    """422: the payload is wrong; ``problem.errors`` says where."""


class RateLimitError(APIStatusError):
    """429: too many requests."""


class InternalServerError(APIStatusError):
    """5xx: the fault is the service's."""


class UnavailableError(InternalServerError):
    """503: the service, or a part that it needs, is not reachable now."""


class UnexpectedResponseError(DropoutError):
    """The answer is not one that this service gives, or its content is not what was promised."""


class WaitTimeoutError(DropoutError, TimeoutError):
    """A job was not finished in the time given. It runs on: wait again, or cancel it."""


class JobError(DropoutError):
    """A job ended without a model."""

    def __init__(self, job_id: str, *details: object) -> None:
        self.job_id = job_id
        super().__init__(job_id, *details)


class JobFailedError(JobError):
    """A job failed.

    Attributes
    ----------
    code, epoch, hint
        What went wrong, in which epoch (from 1; ``None`` before the first), and what can be changed.
    failure
        All that the service knows of the failure, the traceback among it.
    """

    def __init__(self, job_id: str, failure: Failure) -> None:
        super().__init__(job_id, failure)
        self.failure = failure
        self.code = failure.code
        self.epoch = failure.epoch
        self.hint = failure.hint

    def __str__(self) -> str:
        where = "" if self.epoch is None else f" in epoch {self.epoch}"
        hint = f". Hint: {self.hint}" if self.hint else ""
        return f"job {self.job_id} failed ({self.code}){where}: {self.failure.message.removesuffix('.')}{hint}"


class JobCancelledError(JobError):
    """A job was cancelled."""

    def __str__(self) -> str:
        return f"job {self.job_id} was cancelled"


_BY_STATUS: Mapping[int, type[APIStatusError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    406: NotAcceptableError,
    409: ConflictError,
    413: TooLargeError,
    415: UnsupportedMediaTypeError,
    422: UnprocessableEntityError,
    429: RateLimitError,
    503: UnavailableError,
}

_SERVER_ERRORS = 500


def status_error(status_code: int, headers: Mapping[str, str], content: bytes | bytearray) -> APIStatusError:
    """Build the error for an answer with an error status.

    Parameters
    ----------
    status_code
        The HTTP status.
    headers
        The answer's headers, names in lower case.
    content
        The answer's body; need not be a problem document (a proxy may have written it).
    """
    fallback = InternalServerError if status_code >= _SERVER_ERRORS else APIStatusError
    document = _document(headers.get("content-type", ""), content)
    request_id = headers.get("x-request-id") or document.get("request_id")
    return _BY_STATUS.get(status_code, fallback)(
        status_code,
        Problem(
            type=str(document.get("type", "about:blank")),
            title=str(document.get("title", "")),
            status=status_code,
            detail=str(document.get("detail", "")),
            instance=document.get("instance"),
            errors=tuple(
                FieldError(str(error.get("pointer", "")), str(error.get("message", "")))
                for error in document.get("errors") or ()
            ),
        ),
        request_id,
    )


def _document(content_type: str, content: bytes | bytearray) -> dict[str, Any]:
    if "json" not in content_type:
        return {}
    try:
        document = json.loads(content)
    except ValueError:
        return {}
    return cast("dict[str, Any]", document) if isinstance(document, dict) else {}


def _describe(problem: Problem, request_id: str | None) -> str:
    detail = problem.detail or problem.title or "no explanation was given"
    faults = [f"{error.pointer}: {error.message}" if error.pointer else error.message for error in problem.errors]
    # The detail is often the first fault, and then has nothing to add.
    first = problem.errors[0].message if problem.errors else ""
    texts = faults if first and first in detail else [detail, *faults]
    identification = f" [request {request_id}]" if request_id else ""
    return f"{problem.status}: {'; '.join(texts)}{identification}"
