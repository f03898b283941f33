"""The errors of the service, neutral of HTTP.

::

    ServiceError
    ├── InvalidInputError       the payload is wrong: what, where, what would be right
    ├── OverBudgetError         it asks for more than one request may allocate or compute
    ├── NotFoundError           no such dataset, job or model
    ├── ConflictError           the request contradicts the present state
    ├── TooLargeError           a body or a declared array above the limit
    ├── UnsupportedMediaTypeError   a content type this operation does not read
    ├── NotAcceptableError      no representation that the Accept header allows
    ├── UnavailableError        a part that the request needs is not reachable now
    │   ├── OverloadedError     the service is at a limit of what it does at once
    │   └── StorageFullError    there is no room left to write
    └── TrainingError           a training run cannot go on (diverged, empty class, ...)

``api.problems`` holds the one table that maps them to RFC 9457 problem documents.
"""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "ConflictError",
    "Excess",
    "FieldError",
    "InvalidInputError",
    "NotAcceptableError",
    "NotFoundError",
    "OverBudgetError",
    "OverloadedError",
    "ServiceError",
    "StorageFullError",
    "TooLargeError",
    "TrainingError",
    "UnavailableError",
    "UnsupportedMediaTypeError",
    "pointer_to",
    "without_paths",
]

_PATH = re.compile(r"(?<![\w:/])(?:/[\w.@+~-]+)+/([\w.@+~-]+)")


@dataclass(frozen=True, slots=True)
class FieldError:
    """One fault of a payload.

    Parameters
    ----------
    pointer
        JSON pointer (RFC 6901) into the payload, such as ``/model/dropout/1``; the same name is used for a
        query parameter or a named tensor of a binary body (``/rate``, ``/x``).
    message
        What is wrong there and what would be right.
    """

    pointer: str
    message: str


class ServiceError(Exception):
    """Base of every error that the service raises on purpose.

    Parameters
    ----------
    message
        A sentence for the reader: what was wrong, where, and what would be right.
    errors
        The faults of the payload, one for each place.
    """

    code: ClassVar[str] = "internal-error"
    """Stable, machine-readable name of the class of error (the tail of a problem's ``type``)."""
    retry_after_s: ClassVar[int | None] = None
    """Seconds after which the same request may succeed; ``None`` when it would not."""

    def __init__(self, message: str, *, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.errors = tuple(errors)


class InvalidInputError(ServiceError, ValueError):
    """The payload is wrong."""

    code = "invalid-input"

    @classmethod
    def at(cls, pointer: str, message: str) -> Self:
        """Build the error for a single place.

        Parameters
        ----------
        pointer
            JSON pointer of the place.
        message
            What is wrong there and what would be right.
        """
        return cls(message, errors=(FieldError(pointer, message),))

    def within(self, pointer: str) -> InvalidInputError:
        """Return the error with its pointers prefixed by a pointer.

        Parameters
        ----------
        pointer
            JSON pointer of that place.
        """
        errors = [FieldError(pointer + fault.pointer, fault.message) for fault in self.errors]
        return InvalidInputError(self.message, errors=errors)


@dataclass(frozen=True, slots=True)
class Excess:
    """What a request asked for, beside the limit that it is above.

    Parameters
    ----------
    setting
        The environment variable that sets the limit.
    limit, value
        What it allows, and what was asked for.
    """

    setting: str
    limit: int
    value: int


class OverBudgetError(ServiceError):
    """The request asks for more than one request may allocate or compute.

    It is answered with 422, not with 413: the body, which may have a hundred bytes, is not what is too large, but
    what it asks for; and unlike an invalid input it may be right elsewhere, so it is a type of its own.

    Parameters
    ----------
    message
        What was asked for, what is allowed, and which setting allows more.
    excess
        The same for programs.
    pointer
        JSON pointer of what asks for it; empty where no single place does.
    """

    code = "over-budget"

    def __init__(self, message: str, excess: Excess, *, pointer: str = "") -> None:
        super().__init__(message, errors=(FieldError(pointer, message),) if pointer else ())
        self.excess = excess


class NotFoundError(ServiceError):
    """No such resource."""

    code = "not-found"


class ConflictError(ServiceError):
    """The request contradicts the present state of the resource."""

    code = "conflict"


class TooLargeError(ServiceError):
    """A body, or an array that it declares, is above the limit."""

    code = "too-large"


class UnsupportedMediaTypeError(ServiceError):
    """The operation does not read this content type."""

    code = "unsupported-media-type"


class NotAcceptableError(ServiceError):
    """The operation has no representation that the request accepts."""

    code = "not-acceptable"


class UnavailableError(ServiceError):
    """A part that the request needs is not reachable now; trying again later may succeed."""

    code = "unavailable"
    retry_after_s = 5

    @staticmethod
    def of_disk(what: str, error: OSError) -> UnavailableError:
        """Build the error for a disk that fails, or is full, from what could not be done."""
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        reason = without_paths(error.strerror or str(error).splitlines()[0])
        return (StorageFullError if full else UnavailableError)(f"{what}: {reason}")


class OverloadedError(UnavailableError):
    """The service does as much at once as its settings allow; trying again in a moment may succeed."""

    code = "overloaded"
    retry_after_s = 2


class StorageFullError(UnavailableError):
    """There is no space left to write; it may succeed once some has been freed."""

    code = "storage-full"


class TrainingError(ServiceError):
    """A training run cannot go on.

    Parameters
    ----------
    message
        What happened.
    reason
        The stop reason of the job: ``diverged``, ``error``, ...
    epoch
        The epoch (from 1) in which it happened, if training had begun.
    hint
        What the user can change.
    """

    code = "training-failed"

    def __init__(self, message: str, *, reason: str, epoch: int | None = None, hint: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.epoch = epoch
        self.hint = hint


def pointer_to(steps: Iterable[str | int]) -> str:
    """Write a JSON pointer (RFC 6901)."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)


def without_paths(text: str) -> str:
    """Shorten each path of the machine in a message to its last part: where files lie is the operator's affair."""
    return _PATH.sub(r"\1", text.replace("file://", ""))
