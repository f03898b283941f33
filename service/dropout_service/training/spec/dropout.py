"""``DropoutSpec``: what is dropped at one place of the network, and how the rate goes over the training.

What a variant takes is said by one table, ``kernels.variants.VARIANTS``: it describes the schema here, and is asked
by ``training.check`` whether a specification fits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag, model_validator

from dropout_service.training.spec.published import describe_variants
from dropout_service.training.spec.strict import Items, StrictSpec

__all__ = [
    "MAX_UNITS",
    "ConstantRate",
    "CurriculumRate",
    "DropoutForm",
    "DropoutSpec",
    "Dropouts",
    "EarlyRate",
    "LateRate",
    "LinearRate",
    "Rate",
    "RateScheduleSpec",
]

MAX_UNITS = 1 << 20
"""Units of a `shape` at most: a layout is tried out on one sample when a specification is checked."""

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


class DropoutSpec(StrictSpec):
    """A variant of dropout, its rate, and how the rate goes. A number in its place is standard dropout at that rate."""

    model_config = ConfigDict(extra="allow", json_schema_extra=describe_variants)

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
    def _can_be_laid_out(self) -> DropoutSpec:
        if self.shape is not None and math.prod(self.shape) > MAX_UNITS:
            raise ValueError(f"`shape` holds {math.prod(self.shape)} units; at most {MAX_UNITS} can be laid out")
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


DropoutForm = Annotated[
    Annotated[Rate, Tag("number")] | Annotated[DropoutSpec, Tag("object")],
    Discriminator(_form, custom_error_type="dropout_form", custom_error_message=_FORMS),
]

Dropouts = Annotated[
    Annotated[Rate, Tag("number")] | Annotated[DropoutSpec, Tag("object")] | Annotated[Items[DropoutForm], Tag("list")],
    Discriminator(_form),
]
