"""Specifications as they are stored: written for any reader that can understand them, and read tolerantly.

A stored specification has a version, that of the oldest reader which understands all that it says; left out, it is 1.
A field that comes later is named in `SINCE` with its version, and is left out where it has its default
(``exclude_if``), so that a specification which does not use it is still read by earlier versions. A reader ignores
fields that it does not know in a version that it does: they change no result.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from pydantic import ValidationError

from dropout_service.errors import InvalidInputError
from dropout_service.training.spec import TrainingSpec

__all__ = ["SINCE", "SPEC_VERSION", "UnreadableSpec", "parse_spec", "read_spec", "version_of", "write_spec"]

SPEC_VERSION: Final = 6
"""The latest version that is understood; raised with each field in `SINCE`, and when more can be read than before."""
SINCE: Final[Mapping[tuple[str, ...], int]] = {
    ("model", "layers"): 2,
    ("data", "columns"): 3,
    ("data", "columns", "*", "kind", "code"): 6,
    ("model", "layers", "flags"): 6,
    ("scaling",): 3,
    ("model", "activation", "silu"): 3,
    ("model", "activation", "mish"): 3,
    ("model", "layers", "activation", "silu"): 3,
    ("model", "layers", "activation", "mish"): 3,
    ("model", "layers", "activation", "linear"): 3,
    ("model", "layers", "kind", "activation"): 3,
    ("model", "layers", "kind", "layer_norm"): 3,
    ("model", "layers", "kind", "batch_norm"): 3,
    ("model", "layers", "kind", "scale"): 3,
    ("model", "layers", "kind", "periodic"): 3,
    ("model", "layers", "kind", "piecewise_linear"): 3,
    ("model", "layers", "kind", "columns"): 3,
    ("loss", "huber"): 3,
    ("loss", "quantile"): 3,
    ("label_smoothing",): 3,
    ("class_weights",): 3,
    ("huber_delta",): 3,
    ("quantiles",): 3,
    ("data", "weight"): 3,
    ("data", "target", "[]"): 3,
    ("model", "ensemble"): 4,
    ("target_transform",): 5,
    ("model", "ensemble", "share"): 6,
}
"""What came after version 1, by its path, and the version that brought it: a field, or after the field a word in it.

A path leads through every item of a list: ``("model", "layers", "kind", "embedding")``, and with ``*`` through every
value of an object. ``[]`` at its end: a list, in place of what was there before.
"""


@dataclass(frozen=True, slots=True)
class UnreadableSpec:
    """A stored specification that this version cannot read.

    Parameters
    ----------
    document
        What is stored.
    reason
        Why it cannot be read, for the person who submitted it.
    """

    document: Mapping[str, Any]
    reason: str

    @property
    def name(self) -> str | None:
        """The name that it gives, if that can be read."""
        name = self.document.get("name")
        return name if isinstance(name, str) else None

    @property
    def epochs(self) -> int:
        """The epochs that it asks for, if that can be read; else 0."""
        epochs = self.document.get("epochs")
        return epochs if isinstance(epochs, int) else 0


def write_spec(spec: TrainingSpec) -> dict[str, Any]:
    """Return the JSON object to store."""
    document = spec.model_dump(mode="json")
    version = max([since for path, since in SINCE.items() if _has(document, path)], default=1)
    return document if version == 1 else {"version": version, **document}


def version_of(document: Mapping[str, Any]) -> int:
    """Return the version of reader that a stored specification needs."""
    version = document.get("version", 1)
    return version if isinstance(version, int) else SPEC_VERSION + 1


def read_spec(stored: object) -> TrainingSpec | UnreadableSpec:
    """Read what `write_spec` of this version, an earlier or a later one wrote; never raises.

    Parameters
    ----------
    stored
        The JSON value.
    """
    if not isinstance(stored, dict):
        return UnreadableSpec({}, "its stored specification is damaged: it should be a JSON object")
    document = cast("dict[str, Any]", stored)
    try:
        return parse_spec(document)
    except InvalidInputError as error:
        place = error.errors[0].pointer
        told = f"its stored specification cannot be read: {place}: {error.message}" if place else error.message
        return UnreadableSpec(document, told)


def parse_spec(document: Mapping[str, Any]) -> TrainingSpec:
    """Read what `write_spec` of this version, an earlier or a later one wrote.

    Parameters
    ----------
    document
        The JSON object.

    Raises
    ------
    InvalidInputError
        It needs a later version, or has a value that this one does not take: then with a pointer to it.
    """
    version = version_of(document)
    if version > SPEC_VERSION:
        message = (
            f"its specification has version {version} and was made by a later version of the service, which runs it; "
            f"this one reads up to version {SPEC_VERSION}"
        )
        raise InvalidInputError.at("", message)
    fields = {name: value for name, value in document.items() if name != "version"}
    try:
        return _validated(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = "/".join(map(str, ("", *first["loc"])))
        raise InvalidInputError.at(place, first["msg"]) from error


def _validated(fields: dict[str, Any]) -> TrainingSpec:
    try:
        return TrainingSpec.model_validate(fields)
    except ValidationError as error:
        unknown = [fault["loc"] for fault in error.errors(include_url=False) if fault["type"] == "extra_forbidden"]
        if not unknown:
            raise
        known: Any = fields
        for location in unknown:
            known = _without(known, location)
        return TrainingSpec.model_validate(known)


def _has(value: Any, path: tuple[str, ...]) -> bool:
    if not path:
        return True
    if path == ("[]",):
        return isinstance(value, list)
    if isinstance(value, list):
        return any(_has(one, path) for one in cast("list[Any]", value))
    if isinstance(value, Mapping) and path[0] == "*":
        return any(_has(one, path[1:]) for one in cast("Mapping[str, Any]", value).values())
    if isinstance(value, Mapping):
        return path[0] in value and _has(value[path[0]], path[1:])
    return path == (value,)


def _without(value: Any, location: tuple[str | int, ...]) -> Any:
    """Return a copy without what is at a location of Pydantic's, which also names the members of unions."""
    if not location:
        return value
    step, *rest = location
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        if step not in fields:
            return _without(fields, tuple(rest))
        if not rest:
            return {name: below for name, below in fields.items() if name != step}
        return {**fields, str(step): _without(fields[str(step)], tuple(rest))}
    if isinstance(value, list) and isinstance(step, int):
        items = cast("list[Any]", value)
        return [*items[:step], _without(items[step], tuple(rest)), *items[step + 1 :]]
    return _without(value, tuple(rest))
