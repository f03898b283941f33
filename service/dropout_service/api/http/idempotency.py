"""``Idempotency-Key``: a request that is sent again, because its answer got lost, creates nothing a second time."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Annotated, Final

from fastapi import Depends, Header, Request, Response

from dropout_service.api.dependencies import state_of
from dropout_service.database import idempotency
from dropout_service.errors import ConflictError, InvalidInputError

if TYPE_CHECKING:
    from types import TracebackType

    from sqlalchemy import Connection, Engine

__all__ = ["Idempotent", "IdempotentCall", "InFlightError"]

_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")


class InFlightError(ConflictError):
    """The first request with this key has not been answered yet."""

    code = "request-in-flight"
    retry_after_s = 4


class IdempotentCall:
    """A request that creates something, and perhaps carries a key.

    As a context manager it takes the key: what it gives is the answer to repeat, or ``None`` to go on. A block that
    raises has created nothing, and gives the key back::

        with call as repeated:
            if repeated is not None:
                return repeated
            jobs.submit(..., in_transaction=lambda connection, job: call.complete(connection, answer))

    Parameters
    ----------
    engine
        The database.
    operation
        What the key is for; the same key may serve each operation once.
    key
        The key; without one, every request is new.
    body
        The body, by whose digest another request under the same key is found out.
    """

    def __init__(self, engine: Engine, operation: str, key: str | None, body: bytes) -> None:
        self._engine = engine
        self._operation = operation
        self._key = key
        self._body = body
        self._claim: idempotency.Claim | None = None

    def __enter__(self) -> Response | None:
        if self._key is None:
            return None
        body_hash = hashlib.sha256(self._body).hexdigest()
        found = idempotency.begin(self._engine, self._operation, self._key, body_hash)
        if found is idempotency.Refusal.IN_FLIGHT:
            raise InFlightError(
                f"the first request with Idempotency-Key {self._key!r} is not answered yet; wait a moment and repeat it"
            )
        if found is idempotency.Refusal.OTHER_BODY:
            raise InvalidInputError.at(
                "/Idempotency-Key", f"{self._key!r} was used with another body; draw a new key for a new request"
            )
        if isinstance(found, idempotency.StoredAnswer):
            headers = {**found.headers, "Idempotency-Replayed": "true"}
            return Response(found.body, found.status_code, headers)
        self._claim = found
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and self._claim is not None:
            idempotency.abandon(self._engine, self._claim)

    def complete(self, connection: Connection, answer: Response) -> None:
        """Keep the answer, in the transaction that creates what it tells of."""
        if self._claim is not None:
            kept = {
                name: answer.headers[name]
                for name in ("content-type", "location", "retry-after")
                if name in answer.headers
            }
            stored = idempotency.StoredAnswer(answer.status_code, kept, bytes(answer.body))
            idempotency.complete(connection, self._claim, stored)


async def _idempotent_call(
    request: Request,
    idempotency_key: Annotated[
        str | None,
        Header(
            description="Drawn by the client for this request, a UUID, say. Sent again within 24 hours with the same "
            "body, it gets the first answer again and creates nothing.",
            json_schema_extra={"minLength": 1, "maxLength": 255, "pattern": f"^{_KEY.pattern}$"},
        ),
    ] = None,
) -> IdempotentCall:
    if idempotency_key is not None and not _KEY.fullmatch(idempotency_key):
        raise InvalidInputError.at("/Idempotency-Key", "a key has 1 to 255 visible ASCII characters")
    body = await request.body() if idempotency_key is not None else b""
    operation = f"{request.method} {request.url.path}"
    return IdempotentCall(state_of(request)["database"], operation, idempotency_key, body)


Idempotent = Annotated[IdempotentCall, Depends(_idempotent_call)]
"""A route's parameter: the request as one that may be a repetition. It reads the whole body into memory."""
