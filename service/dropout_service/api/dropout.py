"""Dropout on an array: the forward pass, its exact gradient, and the variants there are."""

from __future__ import annotations

import secrets
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np
from fastapi import APIRouter, Depends, Request, Response
from starlette.concurrency import run_in_threadpool

from dropout_service.api.arrays_npy import NPY
from dropout_service.api.bodies import read_buffer
from dropout_service.api.dependencies import known_query, state_of
from dropout_service.api.dropout_forms import (
    BACKWARD,
    FORMS,
    FORWARD,
    Inputs,
    Operation,
    Outputs,
    decode_inputs,
    encode_outputs,
    mask_shape_of,
)
from dropout_service.api.dropout_openapi import BACKWARD_EXTRA, BACKWARD_RESPONSES, FORWARD_EXTRA, FORWARD_RESPONSES
from dropout_service.api.media import JSON, accepted_media_type, body_media_type
from dropout_service.api.problems import problem_responses
from dropout_service.api.schemas import ForwardParameters, VariantEntry, VariantList, VariantParameter
from dropout_service.errors import InvalidInputError
from dropout_service.kernels import dropout
from dropout_service.kernels.variants import VARIANTS

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["router"]

router = APIRouter(prefix="/dropout", tags=["dropout"])

_INLINE_BYTES: Final = 32 * 1024
"""Up to this body size the event loop computes by itself: a few microseconds, less than a change of threads."""

_VARIANTS: Final = VariantList(
    items=[
        VariantEntry(
            name=variant.name,
            drops=variant.drops,
            parameters=[
                VariantParameter(name=one.name, description=one.description, default=one.default)
                for one in variant.all_parameters
            ],
            formula=variant.formula,
            gradient=variant.gradient,
            paper=variant.paper,
        )
        for variant in (VARIANTS["standard"],)
    ]
)


@router.post(
    "/forward",
    operation_id="dropout_forward",
    summary="Drop elements of an array",
    response_class=Response,
    responses=FORWARD_RESPONSES,
    openapi_extra=FORWARD_EXTRA,
)
async def forward(request: Request) -> Response:
    """Set each element to zero with probability `rate` and multiply the others by `scale`.

    Send the array as JSON, npy or safetensors; the answer has the same form, unless `Accept` asks for another.
    The answer tells the seed: the backward pass regenerates the mask from it.
    """
    return await _answer(request, FORWARD)


@router.post(
    "/backward",
    operation_id="dropout_backward",
    summary="Carry a gradient back through dropout",
    response_class=Response,
    responses=BACKWARD_RESPONSES,
    openapi_extra=BACKWARD_EXTRA,
)
async def backward(request: Request) -> Response:
    """Multiply the gradient by the mask and the scale of the forward pass: exactly its derivative.

    Give the rate, the seed and whatever else the forward pass was given; or, in place of the seed, the mask.
    """
    return await _answer(request, BACKWARD)


@router.get(
    "/variants",
    operation_id="dropout_variants",
    summary="List the variants of dropout",
    responses=problem_responses(),
    dependencies=[Depends(known_query)],
)
async def variants() -> VariantList:
    """Tell what each variant drops, its parameters, its formulas and its paper."""
    return _VARIANTS


async def _answer(request: Request, operation: Operation) -> Response:
    form = body_media_type(request, FORMS)
    answer_form = accepted_media_type(request, FORMS, default=form)
    state = state_of(request)
    body = await request.body() if form == JSON else await read_buffer(request)
    compute = partial(
        _compute,
        operation,
        partial(decode_inputs, operation, form, body, request.scope["query_string"]),
        answer_form=answer_form,
        threads=state["limits"].kernel_threads,
    )
    return compute() if len(body) <= _INLINE_BYTES and state["readiness"].ready else await run_in_threadpool(compute)


def _compute(operation: Operation, decode: Callable[[], Inputs], *, answer_form: str, threads: int | None) -> Response:
    inputs = decode()
    returned = inputs.parameters.return_mask if isinstance(inputs.parameters, ForwardParameters) else "none"
    if returned != "none" and answer_form == NPY:
        raise InvalidInputError.at(
            "/return_mask", "npy holds one array; accept application/vnd.safetensors or application/json for the mask"
        )
    outputs = _drop(operation, inputs, threads, returned)
    return encode_outputs(operation, answer_form, outputs, encoded=inputs.encoded)


def _drop(operation: Operation, inputs: Inputs, threads: int | None, returned: str) -> Outputs:
    parameters, array = inputs.parameters, inputs.array
    seed = _seed(operation, inputs)
    noise_shape = None if parameters.noise_shape is None else tuple(parameters.noise_shape)
    own = array.flags.writeable and array.flags.c_contiguous
    kernel = dropout.forward if operation is FORWARD else dropout.backward
    result = kernel(
        array,
        parameters.rate,
        seed=0 if seed is None else seed,
        offset=parameters.offset,
        scaling=parameters.scaling,
        training=parameters.training,
        noise_shape=noise_shape,
        mask=inputs.mask,
        out=array if own else None,
        threads=threads,
    )
    mask = None
    if returned != "none":
        shape = mask_shape_of(array.shape, parameters.noise_shape)
        mask = (
            dropout.keep_mask(shape, parameters.rate, seed=seed or 0, offset=parameters.offset, threads=threads)
            if parameters.training
            else np.ones(shape, np.bool)
        )
    facts = {
        "rate": parameters.rate,
        "effective_rate": dropout.effective_rate(parameters.rate),
        "scale": dropout.scale(parameters.rate, parameters.scaling, parameters.training),
        "seed": seed,
        "offset": parameters.offset,
        "algorithm": dropout.ALGORITHM,
    }
    return Outputs(result, mask, returned == "packed", facts)


def _seed(operation: Operation, inputs: Inputs) -> int | None:
    seed = inputs.parameters.seed
    if inputs.mask is not None:
        if seed is not None:
            raise InvalidInputError.at("/seed", "given beside a `mask`, which takes its place; give one of them")
        return None
    if seed is None and operation is BACKWARD and inputs.parameters.training:
        raise InvalidInputError.at("/seed", "give the `seed` that the forward pass answered, or its `mask`")
    if seed is None:
        return secrets.randbelow(1 << 53)  # every JSON client can carry it
    return seed
