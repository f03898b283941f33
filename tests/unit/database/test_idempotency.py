from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import insert, select, update

from dropout_service.database import idempotency
from dropout_service.database.engine import reading, writing
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


def test_of_requests_that_come_at_the_same_time_one_takes_the_key(engine: Engine):
    for number in range(10):
        # Expired keys are cleared away by all of them at the same time.
        with writing(engine) as connection:
            old = [{"operation": "op", "key": str(n), "body_hash": "", "expires_at": 0.0} for n in range(20)]
            connection.execute(insert(idempotency_keys), old)
        go = threading.Barrier(8)

        def take(_: int, go: threading.Barrier = go, key: str = f"key {number}") -> object:
            go.wait()
            return begin(engine, key=key)

        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(take, range(8)))
        assert sorted(map(str, found)) == sorted(map(str, [None, *[Refusal.IN_FLIGHT] * 7]))
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
            if found[-1] is None:
                idempotency.abandon(engine, "POST /jobs", "k")
        return found

    with ThreadPoolExecutor(2) as pool:
        found = [one for part in pool.map(take_and_give_back, range(2)) for one in part]
    assert set(map(str, found)) <= {str(None), str(Refusal.IN_FLIGHT)}
    assert None in found
