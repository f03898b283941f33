from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import insert, select, update

from dropout_service.database import idempotency
from dropout_service.database.engine import reading, writing
from dropout_service.database.idempotency import Claim, Refusal, StoredAnswer, idempotency_keys
from dropout_service.errors import ConflictError

if TYPE_CHECKING:
    from sqlalchemy import Engine

ANSWER = StoredAnswer(202, {"location": "/jobs/job_1"}, b'{"id": "job_1"}')


def begin(engine: Engine, key: str = "k", body_hash: str = "h", operation: str = "POST /jobs"):
    return idempotency.begin(engine, operation, key, body_hash)


def take(engine: Engine, body_hash: str = "h") -> Claim:
    claim = begin(engine, body_hash=body_hash)
    assert isinstance(claim, Claim)
    return claim


def complete(engine: Engine, claim: Claim, answer: StoredAnswer = ANSWER) -> None:
    with writing(engine) as connection:
        idempotency.complete(connection, claim, answer)


def let_it_expire(engine: Engine) -> None:
    with writing(engine) as connection:
        connection.execute(update(idempotency_keys).values(expires_at=idempotency_keys.c.expires_at - 25 * 3600))


def test_an_answer_is_repeated_for_the_same_body_only(engine: Engine):
    complete(engine, take(engine))
    assert begin(engine) == ANSWER
    assert begin(engine, body_hash="other") is Refusal.OTHER_BODY
    assert isinstance(begin(engine, key="other"), Claim)
    assert isinstance(begin(engine, operation="POST /sweeps"), Claim)


def test_a_request_in_flight_holds_its_key(engine: Engine):
    take(engine)
    assert begin(engine) is Refusal.IN_FLIGHT
    assert begin(engine, body_hash="other") is Refusal.OTHER_BODY


def test_an_abandoned_key_is_free_and_an_answered_one_is_not(engine: Engine):
    idempotency.abandon(engine, take(engine))
    claim = take(engine, body_hash="other")
    complete(engine, claim)
    idempotency.abandon(engine, claim)
    assert begin(engine, body_hash="other") == ANSWER


def test_keys_expire(engine: Engine):
    complete(engine, take(engine))
    let_it_expire(engine)
    take(engine, body_hash="other")


def test_of_two_equal_requests_that_held_a_key_one_after_the_other_only_the_first_to_end_counts(engine: Engine):
    first = take(engine)
    let_it_expire(engine)
    second = take(engine)
    complete(engine, first)
    with pytest.raises(ConflictError, match="went first"):
        complete(engine, second, StoredAnswer(202, {}, b"second"))
    idempotency.abandon(engine, second)
    assert begin(engine) == ANSWER


def test_a_request_that_was_overtaken_gives_back_no_key_but_its_own(engine: Engine):
    first = take(engine)
    let_it_expire(engine)
    second = take(engine)
    idempotency.abandon(engine, first)
    assert begin(engine) is Refusal.IN_FLIGHT
    complete(engine, second)
    assert begin(engine) == ANSWER


def test_a_request_that_was_overtaken_by_another_body_creates_nothing(engine: Engine):
    first = take(engine)
    let_it_expire(engine)
    second = take(engine, body_hash="other")
    with pytest.raises(ConflictError, match="went first"):
        complete(engine, first)
    idempotency.abandon(engine, first)
    complete(engine, second)
    assert begin(engine, body_hash="other") == ANSWER


def test_a_request_counts_although_its_claim_was_forgotten(engine: Engine):
    claim = take(engine)
    let_it_expire(engine)
    begin(engine, key="of another request, which clears away what has expired")
    complete(engine, claim)
    assert begin(engine) == ANSWER


def test_of_requests_that_come_at_the_same_time_one_takes_the_key(engine: Engine):
    for number in range(10):
        # Expired keys are cleared away by all of them at the same time.
        with writing(engine) as connection:
            old = [{"operation": "op", "key": str(n), "body_hash": "", "expires_at": 0.0} for n in range(20)]
            connection.execute(insert(idempotency_keys), old)
        go = threading.Barrier(8)

        def contend(_: int, go: threading.Barrier = go, key: str = f"key {number}") -> object:
            go.wait()
            return type(begin(engine, key=key))

        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(contend, range(8)))
        assert (found.count(Claim), found.count(Refusal)) == (1, 7)
    with reading(engine) as connection:
        assert (
            connection.execute(select(idempotency_keys.c.key).where(idempotency_keys.c.operation == "op")).all() == []
        )


def test_a_key_that_is_given_back_is_free_at_once(engine: Engine):
    """Whoever waited for the key finds it either held or free, and never neither."""
    go = threading.Barrier(2)

    def take_and_give_back(_: int) -> list[object]:
        go.wait()
        found: list[object] = []
        for _ in range(30):
            found.append(begin(engine))
            if isinstance(claim := found[-1], Claim):
                idempotency.abandon(engine, claim)
        return found

    with ThreadPoolExecutor(2) as pool:
        found = [one for part in pool.map(take_and_give_back, range(2)) for one in part]
    claims = [one for one in found if isinstance(one, Claim)]
    assert claims
    assert {one for one in found if one not in claims} <= {Refusal.IN_FLIGHT}
