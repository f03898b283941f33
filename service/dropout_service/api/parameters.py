"""Parameters of dropout as JSON, as a query and as metadata of a binary body: one model checks all three."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast
from urllib.parse import parse_qsl

from pydantic import ValidationError
from pydantic_core import from_json

from dropout_service.api.faults import field_errors, summary
from dropout_service.errors import InvalidInputError
from dropout_service.kernels.variants import VARIANTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pydantic import BaseModel

__all__ = ["read_json_object", "read_query", "read_texts", "validated"]

ModelT = TypeVar("ModelT", bound="BaseModel")

_MAX_QUERY_FIELDS: Final = 64


def validated(model: type[ModelT], values: Mapping[str, Any], *, strict: bool | None = None) -> ModelT:
    """Validate values by a model, with faults told as problems are.

    Parameters
    ----------
    model, values
        What to make of what.
    strict
        Refuse a text in place of a number; metadata has nothing but texts. Default: as the model says.

    Raises
    ------
    InvalidInputError
        With a pointer for each fault.
    """
    try:
        return model.model_validate(values, strict=strict)
    except ValidationError as error:
        errors = field_errors(error.errors(include_url=False), values, known=tuple(model.model_fields))
        raise InvalidInputError(summary(errors), errors=errors) from None


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


def read_query(query_string: bytes) -> dict[str, Any]:
    """Read the parameters of a query, each given once."""
    try:
        pairs = parse_qsl(
            query_string.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MAX_QUERY_FIELDS
        )
    except ValueError as error:
        raise InvalidInputError.at("", f"the query is not understood: {error}") from None
    texts: dict[str, str] = {}
    for name, text in pairs:
        if name in texts:
            raise InvalidInputError.at(f"/{name}", "the query has this parameter twice; give it once")
        texts[name] = text
    return read_texts(texts)


def read_texts(texts: Mapping[str, str]) -> dict[str, Any]:
    """Turn texts into the values that they write; what is no such value stays text, which the model then rejects."""
    return {name: _read_text(_READERS.get(name, str), text) for name, text in texts.items()}


def _read_text(reader: Callable[[str], Any], text: str) -> Any:
    try:
        return reader(text)
    except (ValueError, KeyError):
        return text


def _read_sizes(text: str) -> list[int | None]:
    """Read ``1,784`` or ``[1, null]``."""
    sizes = text.strip().removeprefix("[").removesuffix("]").split(",")
    return [None if size.strip() == "null" else int(size) for size in sizes if size.strip()]


_READERS_BY_KIND: Final[Mapping[str, Callable[[str], Any]]] = {
    "number": float,
    "integer": int,
    "axis": int,
    "boolean": {"true": True, "false": False}.__getitem__,
    "shape": _read_sizes,
}
_READERS: Final = {
    one.name: _READERS_BY_KIND.get(one.kind, str) for variant in VARIANTS.values() for one in variant.all_parameters
}


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
