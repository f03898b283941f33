"""Validation errors of Pydantic as ours: with JSON pointers, and in the words of this API."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from pydantic import ValidationError

from dropout_service.errors import FieldError, InvalidInputError, pointer_to

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pydantic import BaseModel

__all__ = ["MOST_ERRORS", "MOST_NAMES", "field_errors", "summary", "validated"]

ModelT = TypeVar("ModelT", bound="BaseModel")

MOST_ERRORS: Final = 20
"""Of more faults, the first are told."""

MOST_NAMES: Final = 64
"""Names of an object: more than any operation has. What has more is one fault, not one for each."""

_MAX_QUOTED = 60


def field_errors(errors: Iterable[Mapping[str, Any]], payload: Any, *, known: Sequence[str] = ()) -> list[FieldError]:
    """Translate Pydantic's errors.

    Parameters
    ----------
    errors
        ``ValidationError.errors()``, or those of FastAPI, whose locations begin with ``body`` or ``query``.
    payload
        What was validated: it tells the parts of a location that are steps into the payload from those that
        name a member of a union.
    known
        The fields of the payload, for who misspelt one.

    Returns
    -------
    list of FieldError
        One for each place; the alternatives of a union are joined with "or". At most 20.
    """
    messages: dict[str, list[str]] = {}
    for error in errors:
        location = tuple(error["loc"])
        if error["type"] == "json_invalid":
            pointer = ""
        elif location and location[0] in {"query", "path", "header", "cookie"}:
            pointer = pointer_to(location[1:])
        else:
            steps = location[1:] if location and location[0] == "body" else location
            pointer = pointer_to(_steps_into(payload, steps, last=error["type"] == "missing"))
        told = messages.setdefault(pointer, [])
        message = _message(error, known)
        if message not in told:
            told.append(message)
    merged = [FieldError(pointer, _joined(told)) for pointer, told in messages.items()]
    return merged[:MOST_ERRORS]


def summary(errors: Sequence[FieldError]) -> str:
    """Return the message of the first fault and the number of all."""
    first = errors[0]
    where = f"{first.pointer}: " if first.pointer else ""
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f"{where}{first.message}{more}"


def _steps_into(payload: Any, location: tuple[str | int, ...], *, last: bool) -> list[str | int]:
    """Leave out what is no step into the payload: the name of a union's member."""
    steps: list[str | int] = []
    here: Any = payload
    for number, part in enumerate(location):
        inside = True
        if isinstance(here, dict) and part in here:
            here = cast("dict[Any, Any]", here)[part]
        elif isinstance(here, list) and isinstance(part, int) and part < len(cast("list[Any]", here)):
            here = cast("list[Any]", here)[part]
        else:
            inside = False
        if inside or (last and number == len(location) - 1):
            steps.append(part)
    return steps


def _message(error: Mapping[str, Any], known: Sequence[str]) -> str:
    tell = _MESSAGES.get(error["type"])
    if tell is not None:
        return tell(error)
    if error["type"] == "extra_forbidden":
        known = known if len(error["loc"]) == 1 else ()
        close = get_close_matches(str(error["loc"][-1])[:_MAX_QUOTED], known, n=1)
        if close:
            return f"there is no such field; did you mean `{close[0]}`?"
        return "there is no such field" + (f"; there are {', '.join(known)}" if known else "; check its spelling")
    # Why a text is no number adds nothing to "should be a valid number".
    message = str(error["msg"]).partition(", unable to parse string")[0]
    message = message.replace("Input should", "should", 1).replace("String should", "should", 1)
    given = error.get("input")
    if given is None or isinstance(given, (bool, int, float, str)):
        quoted = "null" if given is None else str(given).lower() if isinstance(given, bool) else repr(given)
        message += f"; got {quoted[:_MAX_QUOTED]}"
    return message


def _missing(error: Mapping[str, Any]) -> str:
    return (
        "the body is empty; it should be a JSON object"
        if tuple(error["loc"]) == ("body",)
        else "this field is required"
    )


def _not_json(error: Mapping[str, Any]) -> str:
    return f"the body is not valid JSON: {error['ctx']['error']} at position {error['loc'][-1]}"


def _unknown_kind(error: Mapping[str, Any]) -> str:
    context = error["ctx"]
    return f"{context['discriminator']} should be one of {context['expected_tags']}; got {context['tag']!r}"


_MESSAGES: Final[Mapping[str, Callable[[Mapping[str, Any]], str]]] = {
    "missing": _missing,
    "json_invalid": _not_json,
    "value_error": lambda error: str(error["ctx"]["error"]),
    "union_tag_invalid": _unknown_kind,
    "union_tag_not_found": lambda error: f"{error['ctx']['discriminator']} is required: it says which fields there are",
    "model_type": lambda _: "should be an object",
    "model_attributes_type": lambda _: "should be an object",
}
"""Our words for Pydantic's types of errors."""


def _joined(messages: list[str]) -> str:
    """Join the alternatives of a union, telling what was given once."""
    given = {message.rpartition("; got ")[2] for message in messages}
    if len(messages) > 1 and len(given) == 1 and "; got " in messages[0]:
        return " or ".join(message.rpartition("; got ")[0] for message in messages) + f"; got {given.pop()}"
    return " or ".join(messages)


def validated(model: type[ModelT], values: Mapping[str, Any], *, strict: bool | None = None) -> ModelT:
    """Validate values by a model; what is invalid raises ``InvalidInputError`` with JSON pointers.

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
    if len(values) > MOST_NAMES:
        raise InvalidInputError.at("", f"{len(values):,} names are given; no operation has so many")
    try:
        return model.model_validate(values, strict=strict)
    except ValidationError as error:
        errors = field_errors(error.errors(include_url=False), values, known=tuple(model.model_fields))
        raise InvalidInputError(summary(errors), errors=errors) from None
