"""A JSON body that is one object."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, cast

from pydantic_core import from_json

from dropout_service.api.http.validation_errors import MOST_NAMES
from dropout_service.errors import InvalidInputError, pointer_to

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dropout_service.budgets import Budgets

__all__ = ["read_json_object"]


def read_json_object(body: bytes, example: str, budgets: Budgets) -> dict[str, Any]:
    """Parse a body that should be a JSON object, in which no name may occur twice.

    Parameters
    ----------
    body
        UTF-8 text. Lists and objects may be nested to a depth of 200, and integers have at most 4,300 digits: the
        parser's own limits.
    example
        Such an object, for the reader of a fault.
    budgets
        Bound of its values.

    Raises
    ------
    InvalidInputError
        The body is no such object.
    OverBudgetError
        It holds too many values.
    """
    _check_values(body, budgets)
    try:
        value = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        hint = '; numbers that are not finite are the texts "NaN", "Infinity" and "-Infinity"'
        raise InvalidInputError.at(
            "", f"the body is not valid JSON: {error}{hint if b'NaN' in body or b'Infinity' in body else ''}"
        ) from None
    if not isinstance(value, dict):
        raise InvalidInputError.at("", f"the body should be an object such as {example}")
    if len(body) > MOST_NAMES * len('"a":0,'):
        _check_names(value)
    if _may_repeat(body, value):
        json.loads(body, object_pairs_hook=_without_repetition)
    return value


def _check_values(body: bytes, budgets: Budgets) -> None:
    """Bound what the parser would make, before it does: a value has a comma before it, or begins a list or object."""
    if len(body) > budgets.json_values:
        values = body.count(b",") + 2 * (body.count(b"[") + body.count(b"{"))
        budgets.check("json_values", values, remedy="send large arrays in a binary form")


def _check_names(value: dict[str, Any]) -> None:
    for pointer, names in [("", value), *((f"/{name}", below) for name, below in value.items())]:
        if isinstance(names, dict) and len(names) > MOST_NAMES:
            raise InvalidInputError.at(pointer, f"this object has {len(names):,} names; no operation has so many")


def _may_repeat(body: bytes, value: Mapping[str, Any]) -> bool:
    r"""Whether some name might occur twice: then, and only then, the slower parser that sees it is worth its time.

    It cannot where the text has no more quotation marks than the names and texts that were read from it. Text inside
    lists, as NaN is written, makes for more; then each name is looked for. An escape such as ``\u0061`` may hide one.
    """
    if b"\\" in body:
        return True
    known = [text for pair in _pairs(value) for text in pair if isinstance(text, str)]
    return body.count(b'"') > 2 * len(known) and any(body.count(f'"{name}"'.encode()) > 1 for name, _ in _pairs(value))


def _pairs(value: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    for name, below in value.items():
        yield name, below
        if isinstance(below, dict):
            yield from cast("dict[str, Any]", below).items()


def _without_repetition(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) < len(pairs):
        repeated, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise InvalidInputError.at(pointer_to([repeated]), "this name occurs twice; give it once")
