from __future__ import annotations

import json
import pickle

import pytest

import dropout_client
from dropout_client import (
    DropoutError,
    FieldError,
    InternalServerError,
    JobFailedError,
    UnprocessableEntityError,
    job_errors,
)
from dropout_client import errors as module
from dropout_client.errors import APIStatusError, status_error
from dropout_client.records import Failure

PROBLEM = {
    "type": "/problems/invalid-input",
    "title": "Invalid input",
    "status": 422,
    "detail": "rate must lie in [0, 1], got 1.5",
    "instance": "/dropout/forward",
    "request_id": "from-the-body",
    "errors": [
        {"pointer": "/rate", "message": "rate must lie in [0, 1], got 1.5"},
        {"pointer": "/x", "message": "ragged"},
    ],
    "a field of the future": True,
}
HEADERS = {"content-type": "application/problem+json", "x-request-id": "req-1"}


def test_a_problem_is_told_with_its_places_and_request():
    error = status_error(422, HEADERS, json.dumps(PROBLEM).encode())
    assert type(error) is UnprocessableEntityError
    assert error.status_code == 422
    assert error.request_id == "req-1"
    assert error.problem.errors[1] == FieldError("/x", "ragged")
    assert str(error) == "422: /rate: rate must lie in [0, 1], got 1.5; /x: ragged [request req-1]"


def test_the_request_id_of_the_body_serves_where_the_header_is_lost():
    error = status_error(422, {"content-type": "application/problem+json"}, json.dumps(PROBLEM).encode())
    assert error.request_id == "from-the-body"


@pytest.mark.parametrize(
    ("content_type", "content"),
    [("text/html", b"<h1>Bad Gateway</h1>"), ("application/json", b"{cut"), ("application/json", b"[]"), ("", b"")],
)
def test_an_answer_that_is_no_problem_document_still_gives_an_error(content_type: str, content: bytes):
    error = status_error(502, {"content-type": content_type}, content)
    assert type(error) is InternalServerError
    assert str(error) == "502: no explanation was given"


def test_a_status_without_a_class_of_its_own():
    assert type(status_error(418, {}, b"")) is APIStatusError


def test_a_failed_job_tells_where_and_what_to_change():
    error = JobFailedError("job_1", Failure(code="diverged", message="the loss is NaN", epoch=3, hint="lower the rate"))
    assert (error.job_id, error.code, error.epoch, error.hint) == ("job_1", "diverged", 3, "lower the rate")
    assert str(error) == "job job_1 failed (diverged) in epoch 3: the loss is NaN. Hint: lower the rate"


def test_every_error_is_drawn_in_the_tree_and_exported():
    assert module.__doc__ is not None
    defined = {**vars(module), **vars(job_errors)}
    kinds = {name for name, one in defined.items() if isinstance(one, type) and issubclass(one, DropoutError)}
    drawn = {word for word in module.__doc__.split() if word.endswith("Error")}
    assert kinds == drawn
    assert kinds <= set(dropout_client.__all__)


def test_an_error_survives_another_process():
    error = status_error(422, HEADERS, json.dumps(PROBLEM).encode())
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301  # our own bytes
    assert str(copy) == str(error)
    assert copy.request_id == "req-1"
