"""The retry rules, driven by hand: no network, no clock to wait for."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from dropout_client import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    ConflictError,
    DropoutError,
    InternalServerError,
    NotFoundError,
    UnavailableError,
)
from dropout_client.errors import retry_after_s
from dropout_client.flows import Pause, Request, Response, SendOnce
from dropout_client.retries import LONGEST_PAUSE_S, Options, attempts, backoff_s

REQUEST = Request(method="POST", path="/jobs", headers={"Idempotency-Key": "k"})
DELETION = Request(method="DELETE", path="/jobs/1")
HEAVY = Request(method="POST", path="/models/1/predict", repeat_after_timeout=False)
REFUSED = APIConnectionError("connection refused", may_have_arrived=False)
LOST = APIConnectionError("no answer")
PATIENT = Options()
OK = Response(200, {}, bytearray(b"{}"))


def answer(status: int, **headers: str) -> Response:
    return Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, bytearray())


def play(
    outcomes: list[Response | DropoutError], options: Options = PATIENT, request: Request = REQUEST
) -> tuple[Response | DropoutError, list[SendOnce], list[float]]:
    """Give each attempt the next outcome; collect the attempts and the pauses between them."""
    flow = attempts(request, options)
    tried: list[SendOnce] = []
    pauses: list[float] = []
    remaining = iter(outcomes)
    try:
        effect = next(flow)
        while True:
            if isinstance(effect, Pause):
                pauses.append(effect.seconds)
                effect = flow.send(None)
                continue
            assert isinstance(effect, SendOnce)
            tried.append(effect)
            outcome = next(remaining)
            effect = flow.throw(outcome) if isinstance(outcome, DropoutError) else flow.send(outcome)
    except StopIteration as stop:
        return stop.value, tried, pauses
    except DropoutError as error:
        return error, tried, pauses


@pytest.mark.parametrize("status", [408, 425, 429, 502, 503, 504])
def test_a_passing_fault_is_tried_again(status: int):
    result, tried, pauses = play([answer(status), answer(status), OK])
    assert result is OK
    assert len(tried) == 3
    assert len(pauses) == 2


@pytest.mark.parametrize("error", [APIConnectionError("refused"), APITimeoutError("silence")])
def test_no_answer_is_tried_again(error: DropoutError):
    result, tried, _ = play([error, OK])
    assert result is OK
    assert [one.request for one in tried] == [REQUEST, REQUEST]  # the same key, so the same job


@pytest.mark.parametrize("status", [400, 401, 403, 404, 406, 409, 413, 415, 422, 500, 501])
def test_a_lasting_fault_is_told_at_once(status: int):
    result, tried, pauses = play([answer(status)])
    assert isinstance(result, APIStatusError)
    assert result.status_code == status
    assert len(tried) == 1
    assert not pauses


@pytest.mark.parametrize("lost", [LOST, answer(502), answer(504)], ids=["no answer", "502", "504"])
def test_a_deletion_whose_answer_was_lost_has_been_done(lost: Response | DropoutError):
    result, tried, _ = play([lost, answer(503), answer(404)], request=DELETION)
    assert isinstance(result, Response)
    assert len(tried) == 3


@pytest.mark.parametrize(
    ("outcomes", "request_"),
    [
        ([answer(404)], DELETION),
        ([answer(503), answer(404)], DELETION),
        ([REFUSED, answer(404)], DELETION),
        ([LOST, answer(404)], REQUEST),
    ],
    ids=["at once", "after a refusal", "after a connection that was never made", "of what is no deletion"],
)
def test_else_what_is_not_found_is_told(outcomes: list[Response | DropoutError], request_: Request):
    assert isinstance(play(outcomes, request=request_)[0], NotFoundError)


def test_a_first_attempt_that_is_still_worked_on_is_waited_for():
    headers = {"content-type": "application/problem+json"}
    in_flight = Response(409, headers, bytearray(b'{"type": "/problems/request-in-flight"}'))
    result, _, pauses = play([in_flight, OK])
    assert result is OK
    assert len(pauses) == 1
    assert isinstance(play([answer(409)])[0], ConflictError)


def test_the_last_failure_is_told_when_all_are_used_up():
    result, tried, _ = play([answer(502), answer(503), answer(503)], Options(max_retries=2))
    assert isinstance(result, UnavailableError)
    assert isinstance(result, InternalServerError)
    assert len(tried) == 3
    assert len(play([answer(503)], Options(max_retries=0))[1]) == 1


def test_retry_after_takes_the_place_of_the_backoff():
    assert play([answer(503, retry_after="3"), OK])[2] == [3.0]
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True)
    assert 15 < play([answer(429, retry_after=moment), OK])[2][0] <= 20


@pytest.mark.parametrize("status", [429, 503])
def test_whoever_is_asked_to_come_back_in_an_hour_is_told_so_at_once(status: int):
    result, tried, pauses = play([answer(status, retry_after="3600"), OK])
    assert isinstance(result, APIStatusError)
    assert result.retry_after_s == 3600
    assert (len(tried), pauses) == (1, [])
    assert play([answer(status, retry_after=f"{LONGEST_PAUSE_S:.0f}"), OK])[0] is OK
    assert isinstance(play([answer(status, retry_after="9" * 5000)])[0], APIStatusError)


def test_what_may_still_be_computed_is_not_begun_again():
    silence = APITimeoutError("silence")
    result, tried, _ = play([silence, OK], request=HEAVY)
    assert (result, len(tried)) == (silence, 1)
    for passing in (answer(503, retry_after="1"), REFUSED, APITimeoutError("no connection", may_have_arrived=False)):
        assert play([passing, OK], request=HEAVY)[0] is OK


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(None, None), ("0", 0.0), ("120", 120.0), ("soon", None), ("", None), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0)],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None):
    assert retry_after_s(value) == seconds


def test_a_pause_beyond_the_total_timeout_is_not_begun():
    result, tried, pauses = play([answer(503, retry_after="60")], Options(total_timeout=30))
    assert isinstance(result, UnavailableError)
    assert len(tried) == 1
    assert not pauses


def test_an_attempt_gets_no_more_time_than_is_left():
    _, tried, _ = play([OK], Options(timeout=60, total_timeout=5))
    assert 4 < tried[0].timeout_s <= 5
    assert tried[0].deadline is not None
    assert tried[0].deadline - time.monotonic() <= 5
    assert play([OK], Options(timeout=7))[1][0].timeout_s == 7
    assert play([OK])[1][0].timeout_s == REQUEST.timeout_s == 60


def test_a_held_back_answer_is_given_its_time():
    flow = attempts(Request(method="GET", path="/jobs/1", patience_s=30), Options(timeout=10))
    effect = next(flow)
    assert isinstance(effect, SendOnce)
    assert effect.timeout_s == 40


def test_backoff_grows_to_a_bound_and_is_spread():
    draws = [[backoff_s(retry) for _ in range(200)] for retry in range(10)]
    for retry, some in enumerate(draws):
        bound = min(8.0, 0.25 * 2**retry)
        assert bound / 2 <= min(some)
        assert max(some) <= bound
        assert len(set(some)) > 100
