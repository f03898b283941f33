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

The last two branches are in ``job_errors``: they know of jobs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    "retry_after_s",
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
    """The service could not be reached, or the connection broke.

    Attributes
    ----------
    may_have_arrived
        Whether the service may have received the request, and done what it asks for.
    """

    def __init__(self, message: str, *, may_have_arrived: bool = True) -> None:
        super().__init__(message)
        self.may_have_arrived = may_have_arrived


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
    retry_after_s
        Seconds after which the service, or a proxy before it, asks to try again; ``None`` if it does not say.
    """

    def __init__(
        self, status_code: int, problem: Problem, request_id: str | None, retry_after_s: float | None = None
    ) -> None:
        self.status_code = status_code
        self.problem = problem
        self.request_id = request_id
        self.retry_after_s = retry_after_s
        super().__init__(status_code, problem, request_id, retry_after_s)

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
        retry_after_s(headers.get("retry-after")),
    )


def retry_after_s(value: str | None) -> float | None:
    """Read a ``Retry-After`` header (RFC 9110 10.2.3): seconds, or a date.

    Parameters
    ----------
    value
        The header, if there is one.

    Returns
    -------
    float | None
        Seconds from now, never negative; ``None`` if there is no header or it cannot be read.
    """
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


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
