"""The base of all parts of a specification."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Strict, model_validator

__all__ = ["Items", "Name", "StrictSpec"]

T = TypeVar("T")

_MOST_FIELDS: Final = 64
"""More than any specification has: what has more is told so, not told each of them."""


def _without_nul(name: str) -> str:
    if "\0" in name:
        raise ValueError("a name is a text without the character NUL")
    return name


Name = Annotated[str, Field(max_length=200), AfterValidator(_without_nul)]
"""A name for people; what every database can keep."""


Items = Annotated[tuple[T, ...], Strict(strict=False), Field(fail_fast=True)]
"""A list of JSON, which no program can change; of what is wrong in it, the first is told."""


class StrictSpec(BaseModel):
    """Frozen; an unknown field is an error, so that a typing mistake is not silently ignored.

    So is a text or a truth value in place of a number: it means what its writer did not say.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _of_few_fields(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and len(value) > _MOST_FIELDS:
            raise ValueError(f"this object has {len(value):,} names; no specification has so many")
        return value
