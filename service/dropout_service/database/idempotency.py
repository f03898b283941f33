"""Idempotency keys: the answer to a request that creates something, kept so that a repetition gets it again."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    JSON,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    and_,
    delete,
    select,
    tuple_,
)
from sqlalchemy.dialects import postgresql, sqlite

from dropout_service.database.clock import now_s
from dropout_service.database.engine import writing
from dropout_service.database.metadata import metadata
from dropout_service.errors import ConflictError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

__all__ = [
    "IN_FLIGHT_S",
    "KEPT_S",
    "Claim",
    "Refusal",
    "StoredAnswer",
    "abandon",
    "begin",
    "complete",
    "idempotency_keys",
]

KEPT_S = 24 * 3600.0
"""How long an answer is kept."""
IN_FLIGHT_S = 12.0
"""How long a request without an answer holds its key, should its process have died.

One that takes longer may be overtaken by its repetition; the first of the two to create something is the only one. It
may also be overtaken by a request with another body, and then creates nothing.
"""

_FORGOTTEN_AT_ONCE = 1_000
_INSERT = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    # The operation is part of the key: one key may be used once for each.
    Column("operation", String(200), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("body_hash", String(80), nullable=False),
    Column("expires_at", Double, nullable=False),
    # Null while the request is in flight.
    Column("status_code", Integer),
    Column("headers", JSON(none_as_null=True)),
    Column("body", LargeBinary),
    Index(None, "expires_at"),
)


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """An answer as it was given."""

    status_code: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Claim:
    """A key that a request has taken.

    Parameters
    ----------
    operation, key
        What was taken.
    body_hash
        Digest of the request's body.
    expires_at
        Until when the key is held. No two claims of a key have the same, so it tells them apart.
    """

    operation: str
    key: str
    body_hash: str
    expires_at: float


class Refusal(Enum):
    """Why a key cannot be used for this request."""

    OTHER_BODY = "the key was used with another body"
    IN_FLIGHT = "the first request with this key has not been answered yet"


def begin(engine: Engine, operation: str, key: str, body_hash: str) -> StoredAnswer | Refusal | Claim:
    """Take a key for a request.

    Returns
    -------
    StoredAnswer | Refusal | Claim
        The answer to repeat; why the key cannot be used; or the claim with which to go on: call :func:`complete` in
        the transaction that creates, or :func:`abandon`.
    """
    insert = _INSERT[engine.dialect.name]
    row = None
    while row is None:  # a second time only when the key is given back in between
        with writing(engine) as connection:
            now = connection.execute(select(now_s())).scalar_one()
            _forget_expired(connection, operation, key, now)
            claim = Claim(operation, key, body_hash, now + IN_FLIGHT_S)
            taken = insert(idempotency_keys).values(asdict(claim)).on_conflict_do_nothing()
            # Where two come at the same time, the second waits here for the first.
            if connection.execute(taken.returning(idempotency_keys.c.key)).first() is not None:
                return claim
            row = connection.execute(select(idempotency_keys).where(_is(operation, key))).mappings().first()
    if row["body_hash"] != body_hash:
        return Refusal.OTHER_BODY
    if row["status_code"] is None:
        return Refusal.IN_FLIGHT
    return StoredAnswer(row["status_code"], row["headers"], row["body"])


def complete(connection: Connection, claim: Claim, answer: StoredAnswer) -> None:
    """Keep the answer, in the transaction that creates what it tells of.

    Raises
    ------
    ConflictError
        This request took so long that another under the same key took over: then this one must create nothing.
    """
    kept = {**asdict(claim), **asdict(answer), "expires_at": now_s() + KEPT_S}
    statement = _INSERT[connection.dialect.name](idempotency_keys).values(kept)
    # A claim that has run out may be forgotten: then the row is made anew. If the key was taken again, its row serves
    # both requests when they are equal.
    statement = statement.on_conflict_do_update(
        index_elements=[idempotency_keys.c.operation, idempotency_keys.c.key],
        set_={name: statement.excluded[name] for name in kept},
        where=and_(idempotency_keys.c.status_code.is_(None), idempotency_keys.c.body_hash == claim.body_hash),
    )
    if connection.execute(statement.returning(idempotency_keys.c.key)).first() is None:
        raise ConflictError(
            "this request took so long that another with its Idempotency-Key went first, and created nothing; "
            "repeat it to learn what became of the other"
        )


def abandon(engine: Engine, claim: Claim) -> None:
    """Give a key back whose request created nothing, so that a corrected or repeated request can use it."""
    still_held = _is(claim.operation, claim.key) & (idempotency_keys.c.expires_at == claim.expires_at)
    with writing(engine) as connection:
        connection.execute(delete(idempotency_keys).where(still_held))


def _forget_expired(connection: Connection, operation: str, key: str, now: float) -> None:
    expired = idempotency_keys.c.expires_at < now
    connection.execute(delete(idempotency_keys).where(_is(operation, key), expired))
    # The others without waiting for whoever does the same: two that wait for each other would be a deadlock.
    names = (idempotency_keys.c.operation, idempotency_keys.c.key)
    others = select(*names).where(expired).limit(_FORGOTTEN_AT_ONCE).with_for_update(skip_locked=True)
    connection.execute(delete(idempotency_keys).where(tuple_(*names).in_(others)))


def _is(operation: str, key: str) -> Any:
    return (idempotency_keys.c.operation == operation) & (idempotency_keys.c.key == key)
