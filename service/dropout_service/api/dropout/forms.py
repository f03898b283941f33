"""The three forms of a dropout request and of its answer: JSON, npy and safetensors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from pydantic_core import to_json
from starlette.responses import Response

from dropout_service.api.arrays.base import FLOAT_DTYPES, MAX_DIMENSIONS, check_float
from dropout_service.api.arrays.json import (
    decode_bools,
    decode_data,
    decode_encoded,
    decode_numbers,
    encode_array,
    nested,
    nested_values,
    read_encoded,
)
from dropout_service.api.arrays.npy import NPY, decode_npy, encode_npy
from dropout_service.api.arrays.safetensors import SAFETENSORS, decode_safetensors, encode_safetensors
from dropout_service.api.dropout.parameters import read_query, read_texts
from dropout_service.api.dropout.schemas import (
    BackwardParameters,
    BackwardRequest,
    DropoutParameters,
    ForwardParameters,
    ForwardRequest,
)
from dropout_service.api.dropout.variants import own_parameters, validated_parameters, variant_of
from dropout_service.api.http.bodies import PartsResponse
from dropout_service.api.http.json_objects import read_json_object
from dropout_service.api.http.media_types import JSON
from dropout_service.api.http.validation_errors import summary
from dropout_service.errors import FieldError, InvalidInputError
from dropout_service.kernels.dropout.standard import pack_mask, unpack_mask
from dropout_service.kernels.variants import mask_shape

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from dropout_service.budgets import Budgets

__all__ = [
    "BACKWARD",
    "FORMS",
    "FORWARD",
    "Inputs",
    "Operation",
    "Outputs",
    "check_answer",
    "decode_inputs",
    "encode_outputs",
]

FORMS: Final = (JSON, NPY, SAFETENSORS)


@dataclass(frozen=True, slots=True)
class Operation:
    """How the forward and the backward pass differ on the wire."""

    input: str
    output: str
    parameters: type[DropoutParameters]
    request: type[DropoutParameters]
    backward: bool
    example: str


FORWARD: Final = Operation(
    "x", "y", ForwardParameters, ForwardRequest, backward=False, example='{"x": [[1, 2], [3, 4]], "rate": 0.5}'
)
BACKWARD: Final = Operation(
    "grad_output",
    "grad_input",
    BackwardParameters,
    BackwardRequest,
    backward=True,
    example='{"grad_output": [[1, 1], [1, 1]], "rate": 0.5, "seed": 42}',
)


@dataclass(frozen=True, slots=True)
class Inputs:
    """A request, decoded.

    Parameters
    ----------
    array
        ``x`` or ``grad_output``. Where its memory is writable it is the request's own, free to be overwritten.
    mask
        A mask to use instead of the seed's.
    x
        The input of the forward pass, where a backward pass was given it.
    encoded
        Whether JSON held the array as encoded bytes; its answer then does too.
    """

    parameters: DropoutParameters
    array: NDArray[Any]
    mask: NDArray[np.bool] | None = None
    x: NDArray[Any] | None = None
    encoded: bool = False


@dataclass(frozen=True, slots=True)
class Outputs:
    """An answer, to be encoded: the array, the mask if it was asked for, and the facts of the computation."""

    array: NDArray[Any]
    mask: NDArray[np.bool] | None
    packed: bool
    facts: dict[str, Any]


def decode_inputs(operation: Operation, form: str, body: Any, query_string: bytes, budgets: Budgets) -> Inputs:
    """Read a request of one of the forms.

    Parameters
    ----------
    operation
        ``FORWARD`` or ``BACKWARD``.
    form
        Media type of the body.
    body
        ``bytes`` of JSON, otherwise a writable ``memoryview``.
    query_string
        DropoutParameters of a binary body.
    budgets
        Bounds of what is made of it.
    """
    if form == JSON:
        return _decode_json(operation, body, query_string, budgets)
    if form == NPY:
        parameters = validated_parameters(operation.parameters, read_query(query_string))
        if operation.backward and variant_of(parameters).needs_x:
            raise InvalidInputError.at(
                "/x", f"npy holds one array, and `{parameters.variant}` needs `x` too; send {SAFETENSORS} or {JSON}"
            )
        return Inputs(parameters, decode_npy(body, f"/{operation.input}"))
    return _decode_safetensors(operation, body, query_string, budgets)


def check_answer(inputs: Inputs, form: str, budgets: Budgets) -> None:
    """Refuse an answer that would be too large, before anything is computed.

    Its array has the size of the request's. What it is written as, and a mask beside it, may be larger without end
    where an axis is empty.

    Parameters
    ----------
    inputs
        The request.
    form
        Media type of the answer.
    budgets
        Bounds of masks and of JSON.

    Raises
    ------
    OverBudgetError
        The mask has too many elements, or the answer too many values of JSON.
    """
    parameters, shape = inputs.parameters, inputs.array.shape
    masked = isinstance(parameters, ForwardParameters) and parameters.return_mask != "none"
    if not masked and 0 < inputs.array.size * MAX_DIMENSIONS < budgets.json_values:
        return  # so few elements are in fewer lists, whatever the shape: most requests end here
    lists = form == JSON and not inputs.encoded
    values = nested_values(shape) if lists else 0
    if isinstance(parameters, ForwardParameters) and masked:
        drawn = mask_shape(variant_of(parameters), shape, own_parameters(parameters))
        budgets.check("mask_elements", math.prod(drawn), pointer="/return_mask")
        values += nested_values(drawn) if lists and parameters.return_mask == "bool" else 0
    budgets.check("json_values", values, remedy=f"accept {SAFETENSORS}, or send the array encoded")


def encode_outputs(operation: Operation, form: str, outputs: Outputs, *, encoded: bool) -> Response:
    """Write an answer in one of the forms.

    Parameters
    ----------
    operation
        ``FORWARD`` or ``BACKWARD``.
    form
        Media type of the answer.
    outputs
        What was computed.
    encoded
        Whether JSON should hold arrays as encoded bytes.
    """
    if form == JSON:
        return _encode_json(operation, outputs, encoded=encoded)
    headers = {
        f"Dropout-{name.replace('_', '-').title()}": str(value)
        for name, value in outputs.facts.items()
        if value is not None
    }
    if form == NPY:
        return PartsResponse(encode_npy(outputs.array), media_type=NPY, headers=headers)
    arrays: dict[str, NDArray[Any]] = {operation.output: outputs.array}
    metadata = {name: str(value) for name, value in outputs.facts.items() if value is not None}
    if outputs.mask is not None:
        arrays["mask"] = pack_mask(outputs.mask) if outputs.packed else outputs.mask
        metadata["mask_shape"] = str(list(outputs.mask.shape))
    return PartsResponse(encode_safetensors(arrays, metadata), media_type=SAFETENSORS, headers=headers)


def _decode_json(operation: Operation, body: bytes, query_string: bytes, budgets: Budgets) -> Inputs:
    if query_string:
        name = next(iter(read_query(query_string)), "")
        raise InvalidInputError.at(f"/{name}", f"beside a JSON body the query is empty; put `{name}` into the body")
    request = validated_parameters(operation.request, read_json_object(body, operation.example, budgets))
    assert isinstance(request, ForwardRequest | BackwardRequest)  # noqa: S101 - `Operation.request` is one of them
    value: Any = getattr(request, operation.input)
    array = _decode_json_array(value, request.dtype, f"/{operation.input}")
    if isinstance(request, ForwardRequest):
        return Inputs(request, array, encoded=isinstance(value, dict))
    x: Any = getattr(request, "x", None)
    return Inputs(
        request,
        array,
        mask=_decode_json_mask(request.mask, array.shape, budgets),
        x=None if x is None else _decode_json_array(x, request.dtype, "/x"),
        encoded=isinstance(value, dict),
    )


def _decode_json_array(value: Any, dtype: str | None, pointer: str) -> NDArray[Any]:
    if not isinstance(value, dict):
        return decode_numbers(value, FLOAT_DTYPES[dtype or "float64"], pointer)
    if dtype is not None:
        raise InvalidInputError.at("/dtype", "an encoded array brings its own dtype; leave this one out")
    return decode_encoded(value, FLOAT_DTYPES, pointer)


def _decode_json_mask(value: Any, shape: tuple[int, ...], budgets: Budgets) -> NDArray[np.bool] | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        return decode_bools(value, "/mask")
    encoded = read_encoded(value, "/mask")
    if encoded.dtype == "packed":
        packed = np.frombuffer(decode_data(encoded, "/mask"), np.uint8)
        return unpack_mask(packed, _broadcastable(encoded.shape, shape, budgets))
    mask = decode_encoded(value, {"bool": np.dtype(np.uint8), "packed": np.dtype(np.uint8)}, "/mask")
    if mask.size and mask.max() > 1:
        raise InvalidInputError.at("/mask/data", "a bool mask holds bytes other than 0 and 1")
    return mask.view(np.bool)


def _decode_safetensors(operation: Operation, body: memoryview, query_string: bytes, budgets: Budgets) -> Inputs:
    tensors = decode_safetensors(body)
    query = read_query(query_string)
    twice = [name for name in query if name in tensors.metadata]
    if twice:
        raise InvalidInputError.at(f"/{twice[0]}", "given in the query and in __metadata__; give it in one of them")
    texts = dict(tensors.metadata)
    given_shape = texts.pop("mask_shape", None) if operation.backward else None
    parameters = validated_parameters(operation.parameters, {**read_texts(texts), **query})
    _check_names(operation, parameters, tensors.arrays)
    array = tensors.arrays[operation.input]
    check_float(array.dtype, f"/{operation.input}")
    if not operation.backward:
        return Inputs(parameters, array)
    mask, x = tensors.arrays.get("mask"), tensors.arrays.get("x")
    if mask is not None:
        mask = _tensor_mask(mask, given_shape, array.shape, parameters, budgets)
    if x is not None:
        check_float(x.dtype, "/x")
    return Inputs(parameters, array, mask, x)


def _check_names(operation: Operation, parameters: DropoutParameters, arrays: Mapping[str, NDArray[Any]]) -> None:
    expected = [operation.input]
    if operation.backward:
        expected += ["mask", "x"] if variant_of(parameters).needs_x else ["mask"]
    faults = [
        FieldError(f"/{name}", f"there is no such tensor here; there are {', '.join(expected)}")
        for name in arrays
        if name not in expected
    ]
    if operation.input not in arrays:
        faults.append(FieldError(f"/{operation.input}", "this tensor is required"))
    if faults:
        raise InvalidInputError(summary(faults), errors=faults)


def _tensor_mask(
    mask: NDArray[Any], given_shape: str | None, shape: tuple[int, ...], parameters: DropoutParameters, budgets: Budgets
) -> NDArray[np.bool]:
    """Take a BOOL tensor as it is, and the bits of a U8 tensor."""
    if mask.dtype == np.bool:
        return mask
    if mask.dtype != np.uint8:
        raise InvalidInputError.at("/mask", f"the dtype is {mask.dtype.name}; send BOOL, or U8 with packed bits")
    if given_shape is None:
        drawn = mask_shape(variant_of(parameters), shape, own_parameters(parameters))
        return unpack_mask(mask, _broadcastable(list(drawn), shape, budgets))
    sizes = read_texts({"noise_shape": given_shape})["noise_shape"]
    if not isinstance(sizes, list):
        raise InvalidInputError.at("/mask_shape", "should be the sizes of the mask, such as [2, 3]")
    return unpack_mask(mask, _broadcastable(sizes, shape, budgets))


def _broadcastable(sizes: list[Any], shape: tuple[int, ...], budgets: Budgets) -> tuple[int, ...]:
    """Check a mask's shape before anything is unpacked into it."""
    fits = len(sizes) <= len(shape) and all(
        size in {1, full} for size, full in zip(reversed(sizes), reversed(shape), strict=False)
    )
    if not fits:
        raise InvalidInputError.at(
            "/mask", f"a mask of shape {sizes} does not fit shape {list(shape)}: each size is 1 or that of the axis"
        )
    budgets.check("mask_elements", math.prod(sizes), pointer="/mask")
    return tuple(sizes)


def _encode_json(operation: Operation, outputs: Outputs, *, encoded: bool) -> Response:
    array = outputs.array
    content: dict[str, Any] = {
        operation.output: encode_array(array) if encoded else nested(array),
        "dtype": array.dtype.name,
        "shape": list(array.shape),
        **outputs.facts,
    }
    if outputs.mask is not None:
        content["mask"] = _json_mask(outputs.mask, packed=outputs.packed, encoded=encoded)
    return Response(to_json(content, inf_nan_mode="strings"), media_type=JSON)


def _json_mask(mask: NDArray[np.bool], *, packed: bool, encoded: bool) -> Any:
    if packed:
        shape: Mapping[str, Any] = {"dtype": "packed", "shape": list(mask.shape)}
        return {**shape, "data": encode_array(pack_mask(mask))["data"]}
    return encode_array(mask) if encoded else mask.tolist()
