"""Requests and answers of the dropout operations.

``x`` and the other arrays are ``Any`` to Pydantic: ``api.arrays`` checks them, many times faster than an element-wise
schema would. The OpenAPI document describes them all the same.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from dropout_service.api.arrays.schemas import Bools, Numbers
from dropout_service.kernels.dropout.standard import ALGORITHM

__all__ = [
    "BackwardAnswer",
    "BackwardParameters",
    "BackwardRequest",
    "DropoutParameters",
    "ForwardAnswer",
    "ForwardParameters",
    "ForwardRequest",
    "VariantEntry",
    "VariantList",
    "VariantParameter",
]

Seed = Annotated[int, Field(ge=0, lt=2**64)]


class DropoutParameters(BaseModel):
    """What dropout does, apart from the array it does it to."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    rate: float = Field(
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Probability of dropping an element, from 0 to 1. The one in force is `effective_rate`: the "
        "nearest multiple of 1/65536.",
        examples=[0.5],
    )
    seed: Seed | None = Field(
        default=None,
        description="Names the mask stream: the same seed gives the same mask. Left out, one is drawn and answered.",
        examples=[7],
    )
    offset: Seed = Field(default=0, description="Another stream of the same seed, such as a layer or a step.")
    scaling: Literal["inverted", "classic"] = Field(
        default="inverted",
        description="`inverted`: training divides by the probability of keeping, evaluation is the identity. "
        "`classic` (Srivastava et al. 2014): training only drops, evaluation multiplies by the probability of keeping.",
    )
    training: bool = Field(default=True, description="Whether elements are dropped; false for evaluation.")
    variant: str = Field(
        default="standard",
        description="Which dropout: `GET /dropout/variants` tells what each drops and which parameters it takes.",
    )


class ForwardParameters(DropoutParameters):
    """What the forward pass does."""

    return_mask: Literal["none", "bool", "packed"] = Field(
        default="none",
        description="Whether to answer the mask too: as booleans, or packed (a bit an element). It is never needed: "
        "the backward pass regenerates it from the seed.",
    )


class BackwardParameters(DropoutParameters):
    """What the backward pass does; the same values as its forward pass had."""


class _JsonArrays(BaseModel):
    dtype: Literal["float16", "bfloat16", "float32", "float64"] | None = Field(
        default=None,
        description="What nested lists are computed in; default `float64`. An encoded array brings its own.",
    )


class ForwardRequest(ForwardParameters, _JsonArrays):
    """An array to drop elements of."""

    x: Numbers = Field(examples=[[[1, 2], [3, 4]]])


class BackwardRequest(BackwardParameters, _JsonArrays):
    """The gradient with regard to the output, and what identifies the mask: the `seed`, or the `mask` itself."""

    grad_output: Numbers = Field(examples=[[[1, 1], [1, 1]]])
    mask: Bools | None = Field(
        default=None, description="The mask of the forward pass, instead of its seed; for variants that have one."
    )


class _Facts(BaseModel):
    dtype: str = Field(description="What was computed in.", examples=["float64"])
    shape: list[int] = Field(description="Size of each axis.", examples=[[2, 2]])
    variant: str = Field(description="Which dropout it was.", examples=["standard"])
    rate: float = Field(description="The rate that was asked for.")
    effective_rate: float = Field(description="The probability of dropping that was in force.")
    scale: float | None = Field(
        description="What kept elements were multiplied by; null for a variant where that depends on what was drawn."
    )
    seed: int | None = Field(description="Seed of the mask: give it to the backward pass. Null beside a given mask.")
    offset: int = Field(description="Offset of the mask.")
    algorithm: str = Field(description="Version of the stream of the noise.", examples=[ALGORITHM])


class ForwardAnswer(_Facts):
    """What is left of the array."""

    y: Numbers
    mask: Bools | None = Field(default=None, description="The mask, when `return_mask` asked for it.")


class BackwardAnswer(_Facts):
    """The gradient with regard to the input."""

    grad_input: Numbers
    grad_rate: float | Literal["NaN", "Infinity", "-Infinity"] | None = Field(
        default=None, description="The gradient with regard to the rate, for a variant that learns it."
    )


class VariantParameter(BaseModel):
    """A parameter of a variant."""

    name: str = Field(description="Its name in requests.")
    description: str = Field(description="What it means.")
    kind: Literal["number", "integer", "axis", "shape", "boolean", "text"] = Field(
        description="`axis`: an integer that counts from the last axis if negative; `shape`: a list with 1, a size or "
        "null for each axis."
    )
    default: float | int | str | bool | None = Field(description="What holds where it is left out, if anything does.")
    minimum: float | int | None = Field(description="Least value.")
    maximum: float | int | None = Field(description="Greatest value.")
    exclusive_minimum: bool = Field(description="Whether `minimum` itself is not allowed.")
    exclusive_maximum: bool = Field(description="Whether `maximum` itself is not allowed.")


class VariantEntry(BaseModel):
    """One way of dropping."""

    name: str = Field(description="Its name in requests, as `variant`.")
    title: str = Field(description="Its name in prose.")
    drops: str = Field(description="What is dropped.")
    constraints: str = Field(description="What the array must look like.")
    parameters: list[VariantParameter] = Field(description="The parameters that it takes, shared and its own.")
    masked: bool = Field(description="Whether its noise is a mask, which `return_mask` and `mask` work with.")
    learns_rate: bool = Field(
        description="Whether its backward pass takes `x` too, and answers `grad_rate`, the gradient of the rate."
    )
    scalings: list[Literal["inverted", "classic"]] = Field(description="The values of `scaling` that it has.")
    algorithm: str = Field(description="Version of the stream of its noise.")
    formula: str = Field(description="The forward pass in training.")
    gradient: str = Field(description="The backward pass.")
    paper: str = Field(description="Where it was introduced.")


class VariantList(BaseModel):
    """Every variant that this service computes."""

    items: list[VariantEntry]
