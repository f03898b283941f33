"""Dropout on an array: the forward pass, its exact gradient, and the variants there are."""

from __future__ import annotations

import secrets
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from fastapi import APIRouter, Depends, Request, Response

from dropout_service.api.arrays.npy import NPY
from dropout_service.api.dependencies import known_query, state_of
from dropout_service.api.dropout.forms import (
    BACKWARD,
    FORMS,
    FORWARD,
    Inputs,
    Operation,
    Outputs,
    check_answer,
    decode_inputs,
    encode_outputs,
)
from dropout_service.api.dropout.openapi import (
    BACKWARD_DESCRIPTION,
    BACKWARD_EXTRA,
    BACKWARD_RESPONSES,
    FORWARD_DESCRIPTION,
    FORWARD_EXTRA,
    FORWARD_RESPONSES,
)
from dropout_service.api.dropout.schemas import ForwardParameters, VariantEntry, VariantList, VariantParameter
from dropout_service.api.dropout.variants import own_parameters, variant_of
from dropout_service.api.http.bodies import declared_length, read_buffer
from dropout_service.api.http.media_types import JSON, accepted_media_type, body_media_type
from dropout_service.api.http.problems import problem_responses
from dropout_service.errors import InvalidInputError
from dropout_service.kernels.variants import VARIANTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from dropout_service.api.dropout.schemas import DropoutParameters
    from dropout_service.api.state import Limits
    from dropout_service.kernels.variants import Variant

__all__ = ["router"]

router = APIRouter(prefix="/dropout", tags=["dropout"])

_INLINE_BYTES: Final = 32 * 1024
"""Up to this body size the event loop computes by itself: less work than what a change of threads costs all others."""

_SEEDS: Final = 1 << 53
"""A drawn seed is below this, so that every JSON client can carry it."""

_VARIANTS: Final = VariantList(
    items=[
        VariantEntry(
            name=variant.name,
            title=variant.title,
            drops=variant.drops,
            constraints=variant.constraints,
            parameters=[VariantParameter(**asdict(one)) for one in variant.all_parameters],
            masked=variant.masked,
            learns_rate=variant.needs_x,
            scalings=list(variant.scalings),
            algorithm=variant.algorithm,
            formula=variant.formula,
            gradient=variant.gradient,
            paper=variant.paper,
        )
        for variant in VARIANTS.values()
    ]
)


@router.post(
    "/forward",
    operation_id="dropout_forward",
    summary="Drop elements of an array",
    description=FORWARD_DESCRIPTION,
    response_class=Response,
    responses=FORWARD_RESPONSES,
    openapi_extra=FORWARD_EXTRA,
)
async def forward(request: Request) -> Response:
    """Answer the forward pass."""
    return await _answer(request, FORWARD)


@router.post(
    "/backward",
    operation_id="dropout_backward",
    summary="Carry a gradient back through dropout",
    description=BACKWARD_DESCRIPTION,
    response_class=Response,
    responses=BACKWARD_RESPONSES,
    openapi_extra=BACKWARD_EXTRA,
)
async def backward(request: Request) -> Response:
    """Answer the backward pass."""
    return await _answer(request, BACKWARD)


@router.get(
    "/variants",
    operation_id="dropout_variants",
    summary="List the variants of dropout",
    responses=problem_responses(),
    dependencies=[Depends(known_query)],
)
async def variants() -> VariantList:
    """Tell what each variant drops, what it takes, its parameters with their bounds, its formulas and its paper."""
    return _VARIANTS


async def _answer(request: Request, operation: Operation) -> Response:
    form = body_media_type(request, FORMS)
    answer_form = accepted_media_type(request, FORMS, default=form)
    state = state_of(request)
    limits = state["limits"]

    async def computation() -> Callable[[], Response]:
        body = await request.body() if form == JSON else await read_buffer(request)
        return partial(
            _compute,
            operation,
            partial(decode_inputs, operation, form, body, request.scope["query_string"], limits.budgets),
            answer_form=answer_form,
            limits=limits,
        )

    if declared_length(request) <= _INLINE_BYTES and state["readiness"].ready:
        return (await computation())()
    with state["compute"].place() as place:
        return await place.run(request, await computation())


def _compute(operation: Operation, decode: Callable[[], Inputs], *, answer_form: str, limits: Limits) -> Response:
    inputs, threads = decode(), limits.kernel_threads
    parameters = inputs.parameters
    returned = parameters.return_mask if isinstance(parameters, ForwardParameters) else "none"
    if returned != "none":
        _check_mask_can_be_returned(variant_of(parameters), answer_form)
    check_answer(inputs, answer_form, limits.budgets)
    outputs = _backward(inputs, threads) if operation.backward else _forward(inputs, returned, threads)
    return encode_outputs(operation, answer_form, outputs, encoded=inputs.encoded)


def _check_mask_can_be_returned(variant: Variant, answer_form: str) -> None:
    if not variant.masked:
        masked = ", ".join(one.name for one in VARIANTS.values() if one.masked)
        raise InvalidInputError.at(
            "/return_mask", f"the noise of `{variant.name}` is not a mask; leave this out. These have one: {masked}"
        )
    if answer_form == NPY:
        raise InvalidInputError.at(
            "/return_mask", "npy holds one array; accept application/vnd.safetensors or application/json for the mask"
        )


def _forward(inputs: Inputs, returned: str, threads: int | None) -> Outputs:
    parameters, array = inputs.parameters, inputs.array
    variant, own = variant_of(parameters), own_parameters(parameters)
    seed = secrets.randbelow(_SEEDS) if parameters.seed is None else parameters.seed
    y = variant.forward(
        array,
        parameters.rate,
        seed=seed,
        offset=parameters.offset,
        scaling=parameters.scaling,
        training=parameters.training,
        out=_in_place(array),
        threads=threads,
        **own,
    )
    mask = None
    if returned != "none":
        rate = parameters.rate if parameters.training else 0.0  # evaluation keeps all
        mask = variant.mask(array.shape, rate, seed=seed, offset=parameters.offset, threads=threads, **own)
    return Outputs(y, mask, returned == "packed", _facts(parameters, seed))


def _backward(inputs: Inputs, threads: int | None) -> Outputs:
    parameters, array = inputs.parameters, inputs.array
    seed = _seed_of_forward(inputs)
    gradients = variant_of(parameters).backward(
        array,
        parameters.rate,
        seed=0 if seed is None else seed,
        offset=parameters.offset,
        scaling=parameters.scaling,
        training=parameters.training,
        mask=inputs.mask,
        x=inputs.x,
        out=_in_place(array),
        threads=threads,
        **own_parameters(parameters),
    )
    facts = _facts(parameters, seed)
    if gradients.grad_rate is not None:
        facts["grad_rate"] = gradients.grad_rate
    return Outputs(gradients.grad_input, None, packed=False, facts=facts)


def _in_place(array: NDArray[Any]) -> NDArray[Any] | None:
    """Return the array to write into: the request's own memory where that can be."""
    return array if array.flags.writeable and array.flags.c_contiguous else None


def _facts(parameters: DropoutParameters, seed: int | None) -> dict[str, Any]:
    variant = variant_of(parameters)
    return {
        "variant": variant.name,
        "rate": parameters.rate,
        "effective_rate": variant.effective_rate(parameters.rate),
        "scale": variant.scale(parameters.rate, parameters.scaling, parameters.training),
        "seed": seed,
        "offset": parameters.offset,
        "algorithm": variant.algorithm,
    }


def _seed_of_forward(inputs: Inputs) -> int | None:
    parameters = inputs.parameters
    if inputs.mask is not None:
        if parameters.seed is not None:
            raise InvalidInputError.at("/seed", "given beside a `mask`, which takes its place; give one of them")
        return None
    if parameters.seed is None and parameters.training:
        mask = ", or its `mask`" if variant_of(parameters).masked else ""
        raise InvalidInputError.at("/seed", f"give the `seed` that the forward pass answered{mask}")
    return parameters.seed
