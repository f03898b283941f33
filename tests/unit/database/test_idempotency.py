from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import update

from dropout_service.database import idempotency
from dropout_service.database.engine import writing
from dropout_service.database.idempotency import Refusal, StoredAnswer, idempotency_keys
from dropout_service.errors import ConflictError

if TYPE_CHECKING:
    from sqlalchemy import Engine

ANSWER = StoredAnswer(202, {"location": "/jobs/job_1"}, b'{"id": "job_1"}')


def begin(engine: Engine, key: str = "k", body_hash: str = "h", operation: str = "POST /jobs"):
    return idempotency.begin(engine, operation, key, body_hash)


def complete(engine: Engine) -> None:
    with writing(engine) as connection:
        idempotency.complete(connection, "POST /jobs", "k", ANSWER)


def let_it_expire(engine: Engine) -> None:
    with writing(engine) as connection:
        connection.execute(update(idempotency_keys).values(expires_at=idempotency_keys.c.expires_at - 25 * 3600))


def test_an_answer_is_repeated_for_the_same_body_only(engine: Engine):
    assert begin(engine) is None
    complete(engine)
    assert begin(engine) == ANSWER
    assert begin(engine, body_hash="other") is Refusal.OTHER_BODY
    assert begin(engine, key="other") is None
    assert begin(engine, operation="POST /sweeps") is None


def test_a_request_in_flight_holds_its_key(engine: Engine):
    assert begin(engine) is None
    assert begin(engine) is Refusal.IN_FLIGHT
    assert begin(engine, body_hash="other") is Refusal.OTHER_BODY


def test_an_abandoned_key_is_free_and_an_answered_one_is_not(engine: Engine):
    begin(engine)
    idempotency.abandon(engine, "POST /jobs", "k")
    assert begin(engine, body_hash="other") is None
    complete(engine)
    idempotency.abandon(engine, "POST /jobs", "k")
    assert begin(engine, body_hash="other") == ANSWER


def test_keys_expire(engine: Engine):
    begin(engine)
    complete(engine)
    let_it_expire(engine)
    assert begin(engine, body_hash="other") is None


def test_of_two_requests_that_held_a_key_one_after_the_other_only_one_counts(engine: Engine):
    begin(engine)
    let_it_expire(engine)
    assert begin(engine) is None
    complete(engine)
    with pytest.raises(ConflictError, match="answered meanwhile"):
        complete(engine)
