"""The base of all parts of a specification."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

if TYPE_CHECKING:
    from dropout_service.errors import InvalidInputError

__all__ = ["StrictSpec", "located"]


class StrictSpec(BaseModel):
    """Frozen; an unknown field is an error, so that a typing mistake is not silently ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def located(error: InvalidInputError) -> ValidationError:
    """Return an error for a validator to raise: each fault at its own place below the validated one."""
    details = [
        InitErrorDetails(
            type=PydanticCustomError("invalid", "{message}", {"message": fault.message}),
            loc=tuple(int(step) if step.isdecimal() else step for step in fault.pointer.split("/")[1:]),
            input={},  # the message tells what was given
        )
        for fault in error.errors
    ]
    return ValidationError.from_exception_data("specification", details)
