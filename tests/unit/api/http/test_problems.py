from __future__ import annotations

import logging
import sqlite3
from typing import TYPE_CHECKING, Annotated, Literal

import pytest
from fastapi import FastAPI, Query
from pydantic import BaseModel, Field
from sqlalchemy.exc import OperationalError

from dropout_service.api.http.body_limit import BodyLimit, BodyLimitMiddleware
from dropout_service.api.http.problems import install_problem_handlers
from dropout_service.api.http.request_id import RequestIdMiddleware
from dropout_service.errors import (
    ConflictError,
    Excess,
    FieldError,
    InvalidInputError,
    NotAcceptableError,
    NotFoundError,
    OverBudgetError,
    ServiceError,
    StorageFullError,
    TooLargeError,
    TrainingError,
    UnavailableError,
    UnsupportedMediaTypeError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx


class Dog(BaseModel, extra="forbid"):
    kind: Literal["dog"] = "dog"
    rate: float | tuple[float, ...] = 0.5


class Cat(BaseModel, extra="forbid"):
    kind: Literal["cat"] = "cat"


class Body(BaseModel, extra="forbid"):
    animal: Annotated[Dog | Cat, Field(discriminator="kind")] = Dog()
    items: list[int] = []


ERRORS: list[tuple[ServiceError, int]] = [
    (InvalidInputError("m", errors=[FieldError("/rate", "n")]), 422),
    (OverBudgetError("m", Excess("MOST", 1, 2)), 422),
    (NotFoundError("m"), 404),
    (ConflictError("m"), 409),
    (TooLargeError("m"), 413),
    (UnsupportedMediaTypeError("m"), 415),
    (NotAcceptableError("m"), 406),
    (UnavailableError("m"), 503),
    (StorageFullError("m"), 507),
    (TrainingError("m", reason="diverged"), 422),
    (ServiceError("m"), 500),
]


@pytest.fixture
def client(open_client: Callable[[FastAPI], httpx.Client]) -> Iterator[httpx.Client]:
    app = FastAPI()
    install_problem_handlers(app)
    app.add_middleware(
        BodyLimitMiddleware,
        limit=BodyLimit("MOST", 3000),
        json_limit=BodyLimit("MOST_JSON", 2000),
        by_path={"/large": BodyLimit("MOST_THERE", 4000)},
    )
    app.add_middleware(RequestIdMiddleware)

    @app.get("/raise/{number}")
    async def raises(number: int) -> None:
        raise ERRORS[number][0]

    @app.get("/outage")
    async def outage(reason: str) -> None:
        raise OperationalError("INSERT", {"name": "a secret"}, sqlite3.OperationalError(reason))

    @app.get("/crash")
    async def crash() -> None:
        raise ZeroDivisionError("a secret")

    @app.post("/body")
    @app.post("/large")
    async def body(body: Body, limit: Annotated[int, Query(ge=1)] = 1) -> int:
        return len(body.items) + limit

    return open_client(app)


@pytest.mark.parametrize(("number", "status"), [(n, status) for n, (_, status) in enumerate(ERRORS)])
def test_each_error_has_its_status_and_code(client: httpx.Client, number: int, status: int):
    answer = client.get(f"/raise/{number}", headers={"X-Request-ID": "abc-1"})
    error = ERRORS[number][0]
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"] == "abc-1"
    document = answer.json()
    assert document["type"].endswith(f":{error.code}")
    assert document["detail"] == "m"
    assert document["instance"] == f"/raise/{number}"
    assert document["request_id"] == "abc-1"
    assert document["errors"] == [{"pointer": e.pointer, "message": e.message} for e in error.errors]


@pytest.mark.parametrize(
    ("reason", "status"), [("database is locked", 503), ("database or disk is full", 507), ("disk I/O error", 503)]
)
def test_a_database_that_is_away_is_told_of_and_leaks_nothing(client: httpx.Client, reason: str, status: int):
    answer = client.get("/outage", params={"reason": reason})
    assert (answer.status_code, answer.headers["retry-after"]) == (status, "5")
    assert answer.headers["content-type"] == "application/problem+json"
    assert reason in answer.json()["detail"]
    assert "secret" not in answer.text


def test_an_unexpected_error_is_logged_and_leaks_nothing(client: httpx.Client, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.ERROR):
        answer = client.get("/crash", headers={"X-Request-ID": "find-me"})
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"] == "find-me"
    assert "secret" not in answer.text
    assert "ZeroDivisionError" not in answer.text
    assert "find-me" in caplog.text
    assert "a secret" in caplog.text


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "<script>"])
def test_a_request_id_that_is_not_sane_is_replaced(client: httpx.Client, given: str):
    answer = client.get("/raise/1", headers={"X-Request-ID": given})
    assert answer.headers["x-request-id"] != given
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


def test_an_unknown_path_and_a_wrong_method_are_problems(client: httpx.Client):
    missing = client.get("/no/such")
    assert (missing.status_code, missing.headers["content-type"]) == (404, "application/problem+json")
    assert "/no/such" in missing.json()["detail"]
    wrong = client.delete("/body")
    assert (wrong.status_code, wrong.headers["content-type"]) == (405, "application/problem+json")
    assert wrong.headers["allow"] == "POST"
    assert "use POST" in wrong.json()["detail"]


@pytest.mark.parametrize(
    ("body", "query", "pointer", "message"),
    [
        ('{"animal": {"kind": "dog", "rate": "high"}}', "", "/animal/rate", "got 'high'"),
        ('{"animal": {"kind": "dog", "size": 1}}', "", "/animal/size", "no such field"),
        ('{"animal": {"kind": "cow"}}', "", "/animal", "'dog', 'cat'"),
        ('{"items": [1, 2, "x"]}', "", "/items/2", "valid integer"),
        ('{"items": [1}', "", "", "not valid JSON"),
        ("[]", "", "", "should be an object"),
        ("", "", "", "the body is empty"),
        ('{"animal": {"rate": 0.5}}', "", "/animal", "'kind' is required"),
        ("{}", "?limit=0", "/limit", "greater than or equal to 1; got '0'"),
        ("{}", "?limit=many", "/limit", "valid integer"),
    ],
)
def test_validation_faults_point_into_the_payload(
    client: httpx.Client, body: str, query: str, pointer: str, message: str
):
    answer = client.post(f"/body{query}", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    [error] = answer.json()["errors"]
    assert error["pointer"] == pointer
    assert message in error["message"]
    assert message in answer.json()["detail"]


def test_quoted_lone_surrogates_are_answered_in_ascii(client: httpx.Client):
    answer = client.post(
        "/body", content='{"animal": {"kind": "\\ud800"}}', headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/animal"


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(("path", "size", "status"), [("/body", 3000, 413), ("/large", 3000, 200)])
def test_the_body_limit_counts_declared_and_chunked_bodies(
    client: httpx.Client, path: str, size: int, status: int, *, chunked: bool
):
    body = b'{"items": [' + b" " * size + b"]}"
    content = iter([body[:1500], body[1500:]]) if chunked else body
    answer = client.post(path, content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    if status == 413:
        assert answer.headers["content-type"] == "application/problem+json"
        assert "2,000" in answer.json()["detail"]
        assert "(MOST_JSON)" in answer.json()["detail"]


@pytest.mark.parametrize("media_type", ["application/json", "Application/JSON; charset=utf-8", "application/x-npy"])
def test_json_has_a_limit_of_its_own(client: httpx.Client, media_type: str):
    answer = client.post("/body", content=bytes(2500), headers={"Content-Type": media_type})
    refused = answer.status_code == 413
    assert refused == (media_type != "application/x-npy")
    if refused:
        assert answer.json()["excess"] == {"setting": "MOST_JSON", "limit": 2000, "value": 2500}


def test_a_budget_is_told_to_programs_too(client: httpx.Client):
    number = next(number for number, (error, _) in enumerate(ERRORS) if isinstance(error, OverBudgetError))
    problem = client.get(f"/raise/{number}").json()
    assert problem["excess"] == {"setting": "MOST", "limit": 1, "value": 2}
    assert "excess" not in client.get(f"/raise/{number + 1}").json()
