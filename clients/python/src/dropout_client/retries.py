"""When a request is sent again, and how long to wait before.

Sent again: what never reached the service or was not answered (connection errors, time-outs), and the answers
408, 425, 429, 502, 503 and 504, which say that a later attempt may succeed; also a 409 of the type
``request-in-flight``, by which the service says that the first attempt under this key is still being worked on.
Not sent again: 500, because a fault of the service repeats.

Repeating is safe for every request: reading, computing and deleting are idempotent, and whatever creates carries
an ``Idempotency-Key`` that stays the same over all attempts. A deletion that may have been done, because its answer was
lost, finds nothing when it is repeated: that 404 counts as done. What computes for long is not sent again after a
time-out, since the service may still be at it.

A ``Retry-After`` is obeyed up to `LONGEST_PAUSE_S`; whoever is asked to come back later than that is told so at once.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dropout_client.errors import APIConnectionError, APITimeoutError, DropoutError, status_error
from dropout_client.flows import Pause, Response, SendOnce

if TYPE_CHECKING:
    from dropout_client.flows import Flow, Request

__all__ = ["LONGEST_PAUSE_S", "Options", "attempts", "backoff_s"]

LONGEST_PAUSE_S = 60.0
"""The longest pause that a service may ask for without the request being given up."""

_LATER_MAY_SUCCEED = frozenset({408, 425, 429, 502, 503, 504})
_IN_FLIGHT = "request-in-flight"
_LOST_ANSWER = frozenset({502, 504})
_FIRST_ERROR = 400
_NOT_FOUND = 404
_FIRST_BACKOFF_S = 0.25
_LONGEST_BACKOFF_S = 8.0


@dataclass(frozen=True, slots=True)
class Options:
    """How patient a client is.

    Parameters
    ----------
    timeout
        Seconds of silence on a connection after which an attempt is given up; ``None``: as the request says.
    total_timeout
        Seconds after which a request is given up altogether, its attempts and pauses included.
    max_retries
        How often a request is sent again.
    """

    timeout: float | None = None
    total_timeout: float | None = None
    max_retries: int = 4


def attempts(request: Request, options: Options) -> Flow[Response]:
    """Send a request until it is answered for good.

    Parameters
    ----------
    request
        What to send.
    options
        How often, and for how long.

    Raises
    ------
    APIConnectionError
        No attempt was answered; the last one's error.
    APIStatusError
        The answer is an error that a repetition would not change, or the last attempt's.
    """
    timeout_s = (request.timeout_s if options.timeout is None else options.timeout) + request.patience_s
    deadline = None
    if options.total_timeout is not None:
        deadline = time.monotonic() + options.total_timeout + request.patience_s
    may_be_done = False  # by an attempt whose answer was lost
    for retry in range(options.max_retries + 1):
        asked_s: float | None = None
        try:
            response: Response = yield SendOnce(request, _at_most(timeout_s, deadline), deadline)
        except APIConnectionError as error:
            failure: DropoutError = error
            may_be_done = may_be_done or error.may_have_arrived
            again = request.repeat_after_timeout or not (isinstance(error, APITimeoutError) and error.may_have_arrived)
        else:
            if response.status_code < _FIRST_ERROR:
                return response
            if may_be_done and request.method == "DELETE" and response.status_code == _NOT_FOUND:
                return response
            may_be_done = may_be_done or response.status_code in _LOST_ANSWER
            failure = refusal = status_error(response.status_code, response.headers, response.content)
            asked_s = refusal.retry_after_s
            again = response.status_code in _LATER_MAY_SUCCEED or refusal.problem.type.endswith(_IN_FLIGHT)
        pause_s = backoff_s(retry) if asked_s is None else asked_s
        if not again or retry == options.max_retries or pause_s > LONGEST_PAUSE_S or not _fits(pause_s, deadline):
            raise failure
        yield Pause(pause_s)
    raise AssertionError("the last attempt returns or raises")


def backoff_s(retry: int) -> float:
    """Draw the seconds to wait before a retry (from 0): exponential, with jitter so that clients spread out."""
    longest_s = min(_LONGEST_BACKOFF_S, _FIRST_BACKOFF_S * 2**retry)
    return longest_s * random.uniform(0.5, 1.0)  # noqa: S311  # spreads load, guards nothing


def _at_most(timeout_s: float, deadline: float | None) -> float:
    if deadline is None:
        return timeout_s
    left_s = deadline - time.monotonic()
    if left_s <= 0:
        raise APITimeoutError("the total time-out was over before the service answered")
    return min(timeout_s, left_s)


def _fits(pause_s: float, deadline: float | None) -> bool:
    return deadline is None or time.monotonic() + pause_s < deadline
