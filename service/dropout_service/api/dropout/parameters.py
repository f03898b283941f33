"""Parameters of dropout as texts: a query, or the metadata of a binary body."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from dropout_service.errors import InvalidInputError
from dropout_service.kernels.variants import VARIANTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


__all__ = ["read_query", "read_texts"]

_MAX_QUERY_FIELDS: Final = 64


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
