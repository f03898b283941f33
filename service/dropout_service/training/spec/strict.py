"""The base of all parts of a specification."""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Strict

__all__ = ["Items", "Name", "StrictSpec"]

T = TypeVar("T")


def _without_nul(name: str) -> str:
    if "\0" in name:
        raise ValueError("a name is a text without the character NUL")
    return name


Name = Annotated[str, Field(max_length=200), AfterValidator(_without_nul)]
"""A name for people; what every database can keep."""


Items = Annotated[tuple[T, ...], Strict(strict=False)]
"""A list of JSON, which no program can change."""


class StrictSpec(BaseModel):
    """Frozen; an unknown field is an error, so that a typing mistake is not silently ignored.

    So is a text or a truth value in place of a number: it means what its writer did not say.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
