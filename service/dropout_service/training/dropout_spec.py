"""``DropoutSpec``: what is dropped at one place of the network, and how the rate goes over the training.

What a variant takes is said by one table, ``kernels.variants.VARIANTS``: it validates here and describes the schema.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag, ValidationInfo, model_validator

from dropout_service.errors import InvalidInputError
from dropout_service.training.strict import Items, StrictSpec, located

if TYPE_CHECKING:
    from dropout_service.kernels.variants import Parameter, Variant

__all__ = [
    "ACCEPTED",
    "MAX_UNITS",
    "AnyDropout",
    "ConstantRate",
    "CurriculumRate",
    "DropoutSpec",
    "Dropouts",
    "EarlyRate",
    "LateRate",
    "LinearRate",
    "Rate",
    "RateScheduleSpec",
]

ACCEPTED: dict[str, bool] = {"accepted": True}
"""Validation context for a stored specification: it was checked when it was accepted, and is not asked of the table.

So a process that only passes specifications on, as the dispatcher does, does without NumPy.
"""

MAX_UNITS = 1 << 20
"""Units of a `shape` at most: a layout is tried out on one sample when a specification is validated."""

Rate = Annotated[
    float,
    Field(ge=0, le=1, allow_inf_nan=False, description="Probability of dropping a unit, from 0 to 1."),
]


_FORMS = "should be a rate, or an object with `variant` and `rate`"


class ConstantRate(StrictSpec):
    """The rate stays as it is."""

    kind: Literal["constant"] = "constant"


class LinearRate(StrictSpec):
    """The rate goes from `start` to `rate` on a straight line (up: Zoph et al. 2018; down: Rennie et al. 2014)."""

    kind: Literal["linear"] = "linear"
    start: Rate = Field(default=0.0, description="The rate at the beginning.")
    over_epochs: int | None = Field(
        default=None, ge=1, description="After so many epochs `rate` is reached and kept. Default: at the end."
    )


class CurriculumRate(StrictSpec):
    """The rate rises towards `rate`: rate (1 - exp(-gamma t)), t from 0 to 1 over the epochs (Morerio et al. 2017)."""

    kind: Literal["curriculum"] = "curriculum"
    gamma: float = Field(default=10.0, gt=0, le=1e6, description="How fast: at the end 1 - exp(-gamma) of `rate`.")


class EarlyRate(StrictSpec):
    """Dropout in the first epochs only, against underfitting (Liu et al. 2023)."""

    kind: Literal["early"] = "early"
    first_epochs: int = Field(ge=1, description="Epochs with dropout.")


class LateRate(StrictSpec):
    """Dropout after the first epochs only (Liu et al. 2023)."""

    kind: Literal["late"] = "late"
    first_epochs: int = Field(ge=1, description="Epochs without dropout.")


RateScheduleSpec = Annotated[
    ConstantRate | LinearRate | CurriculumRate | EarlyRate | LateRate, Field(discriminator="kind")
]


def _variants() -> Mapping[str, Variant]:
    # Not at the top: the table computes and so needs NumPy, which who only reads specifications does without
    from dropout_service.kernels.variants import VARIANTS  # noqa: PLC0415 - as said

    return VARIANTS


def _add_table(schema: dict[str, Any]) -> None:
    """Write the variants and their parameters into the JSON schema."""
    table = _variants()
    properties = schema["properties"]
    properties["variant"]["enum"] = list(table)
    properties["variant"]["description"] += " " + "; ".join(
        f"`{name}`: {variant.drops} ({', '.join(('rate', *(one.name for one in variant.parameters)))})"
        for name, variant in table.items()
    )
    for variant in table.values():
        for parameter in variant.parameters:
            if parameter.kind in _JSON_TYPES:
                properties[parameter.name] = _property(parameter, variant.name)
    schema["additionalProperties"] = False


def _property(parameter: Parameter, variant: str) -> dict[str, Any]:
    bounds = {
        "exclusiveMinimum" if parameter.exclusive_minimum else "minimum": parameter.minimum,
        "exclusiveMaximum" if parameter.exclusive_maximum else "maximum": parameter.maximum,
        "default": parameter.default,
    }
    return {
        "type": _JSON_TYPES[parameter.kind],
        "title": parameter.name.replace("_", " ").capitalize(),
        "description": f"Of `{variant}`: {parameter.description}.",
    } | {name: value for name, value in bounds.items() if value is not None}


_JSON_TYPES = {"number": "number", "integer": "integer", "axis": "integer"}


class DropoutSpec(StrictSpec):
    """A variant of dropout, its rate, and how the rate goes. A number in its place is standard dropout at that rate."""

    model_config = ConfigDict(extra="allow", json_schema_extra=_add_table)

    variant: str = Field(default="standard", description="What is dropped, and the parameters it takes.")
    rate: Rate = Field(description="Probability of dropping; of `concrete`, the one to begin with.")
    schedule: RateScheduleSpec | None = Field(
        default=None,
        exclude_if=lambda value: value is None,
        description="How the rate goes over the training. Default: it stays.",
    )
    shape: Annotated[Items[Annotated[int, Field(ge=1)]], Field(max_length=32)] | None = Field(
        default=None,
        exclude_if=lambda value: value is None,
        description="How the units of a sample are laid out, as in `[channels, length]`, for variants that look at "
        "that; its product is the number of units. Default: one row.",
        examples=[[8, 16]],
    )

    @model_validator(mode="after")
    def _is_in_the_table(self, info: ValidationInfo) -> DropoutSpec:
        if info.context == ACCEPTED:
            return self
        if self.shape is not None and math.prod(self.shape) > MAX_UNITS:
            raise ValueError(f"`shape` holds {math.prod(self.shape)} units; at most {MAX_UNITS} can be laid out")
        table = _variants()
        variant = table.get(self.variant)
        if variant is None:
            raise ValueError(f"there is no variant `{self.variant}`; there are {', '.join(table)}")
        for parameter in variant.parameters:
            if parameter.kind not in _JSON_TYPES and parameter.name in self.parameters:
                raise ValueError(
                    f"`{parameter.name}` is for single arrays; a network has `shape` and the other variants"
                )
        if variant.needs_x and self.schedule is not None:
            raise ValueError(f"`{self.variant}` learns its rate; leave `schedule` out")
        try:
            variant.checked_parameters(self.parameters)
            variant.rate.checked(self.rate)
        except InvalidInputError as error:
            raise located(error) from error
        if isinstance(self.schedule, LinearRate):
            try:
                variant.rate.checked(self.schedule.start)
            except InvalidInputError as error:
                raise located(InvalidInputError.at("/schedule/start", error.message)) from error
        return self

    @property
    def parameters(self) -> Mapping[str, float]:
        """The variant's own parameters, as given."""
        return self.model_extra or {}

    @property
    def active(self) -> bool:
        """Whether anything is ever dropped."""
        return self.rate > 0 or self.schedule is not None


def _form(value: Any) -> str:
    if isinstance(value, Mapping | DropoutSpec):
        return "object"
    return "list" if isinstance(value, list | tuple) else "number"


AnyDropout = Annotated[
    Annotated[Rate, Tag("number")] | Annotated[DropoutSpec, Tag("object")],
    Discriminator(_form, custom_error_type="dropout_form", custom_error_message=_FORMS),
]

Dropouts = Annotated[
    Annotated[Rate, Tag("number")] | Annotated[DropoutSpec, Tag("object")] | Annotated[Items[AnyDropout], Tag("list")],
    Discriminator(_form),
]
