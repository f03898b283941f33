"""A JSON body that is one object."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from pydantic_core import from_json

from dropout_service.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["read_json_object"]


def read_json_object(body: bytes, example: str) -> dict[str, Any]:
    """Parse a body that should be a JSON object, in which no name may occur twice.

    Parameters
    ----------
    body
        UTF-8 text.
    example
        Such an object, for the reader of a fault.
    """
    try:
        value = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        hint = '; numbers that are not finite are the texts "NaN", "Infinity" and "-Infinity"'
        raise InvalidInputError.at(
            "", f"the body is not valid JSON: {error}{hint if b'NaN' in body or b'Infinity' in body else ''}"
        ) from None
    if not isinstance(value, dict):
        raise InvalidInputError.at("", f"the body should be an object such as {example}")
    if _may_repeat(body, value):
        json.loads(body, object_pairs_hook=_without_repetition)
    return value


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
    names = [name for name, _ in pairs]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise InvalidInputError.at(f"/{repeated}", "this name occurs twice; give it once")
