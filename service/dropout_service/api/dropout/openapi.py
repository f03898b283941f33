"""How the OpenAPI document describes the dropout operations: their forms, with an example of each."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dropout_service.api.arrays.npy import NPY, encode_npy
from dropout_service.api.arrays.safetensors import SAFETENSORS, encode_safetensors
from dropout_service.api.dropout.schemas import BackwardRequest, ForwardRequest
from dropout_service.api.dropout.variants import documented
from dropout_service.api.http.media_types import JSON
from dropout_service.api.http.openapi import BINARY_SCHEMA, binary_body, binary_example
from dropout_service.api.http.problems import problem_responses
from dropout_service.kernels.variants import VARIANTS

if TYPE_CHECKING:
    from dropout_service.kernels.variants import Variant

__all__ = [
    "BACKWARD_DESCRIPTION",
    "BACKWARD_EXTRA",
    "BACKWARD_RESPONSES",
    "FORWARD_DESCRIPTION",
    "FORWARD_EXTRA",
    "FORWARD_RESPONSES",
    "REQUESTS",
]

REQUESTS: Final = (documented(ForwardRequest), documented(BackwardRequest))
"""The models of JSON bodies, for the document's schemas."""

_X: Final = np.array([[1, 2], [3, 4]], np.float32)
_ONES: Final = np.ones((2, 2), np.float32)
_MASK: Final = np.array([[True, False], [True, True]])
_FACTS: Final = {
    "dtype": "float64",
    "shape": [2, 2],
    "variant": "standard",
    "rate": 0.5,
    "effective_rate": 0.5,
    "scale": 2.0,
    "seed": 42,
    "offset": 0,
    "algorithm": VARIANTS["standard"].algorithm,
}

_FORWARD_JSON: Final = {
    "simplest": {"summary": "The simplest: a seed is drawn", "value": {"x": [[1, 2], [3, 4]], "rate": 0.5}},
    "reproducible": {
        "summary": "With a seed, and the mask in the answer",
        "value": {"x": [[1, 2], [3, 4]], "rate": 0.5, "seed": 42, "return_mask": "bool"},
    },
    "encoded": {
        "summary": "The array as its bytes",
        "value": {"x": {"dtype": "float32", "shape": [2], "data": "AACAPwAAAEA="}, "rate": 0.25, "seed": 42},
    },
    "shared": {
        "summary": "Whole columns dropped together",
        "value": {"x": [[1, 2, 3], [4, 5, 6]], "rate": 0.5, "seed": 42, "noise_shape": [1, None]},
    },
    "evaluation": {
        "summary": "Evaluation, in the scaling of the original paper",
        "value": {"x": [1, 2, "NaN"], "rate": 0.5, "training": False, "scaling": "classic", "dtype": "float32"},
    },
}
_BACKWARD_JSON: Final = {
    "seed": {
        "summary": "By the seed that the forward pass answered",
        "value": {"grad_output": [[1, 1], [1, 1]], "rate": 0.5, "seed": 42},
    },
    "mask": {
        "summary": "By a mask",
        "value": {"grad_output": [[1, 1], [1, 1]], "rate": 0.5, "mask": [[True, False], [True, True]]},
    },
    "packed": {
        "summary": "By a packed mask",
        "value": {
            "grad_output": [[1, 1], [1, 1]],
            "rate": 0.5,
            "mask": {"dtype": "packed", "shape": [2, 2], "data": "DQ=="},
        },
    },
}


def _variant_example(variant: Variant, arrays: tuple[str, ...]) -> dict[str, Any]:
    """Make a request of the variant with its own parameters written out, where they have a default."""
    x = np.arange(1, 1 + math.prod(variant.example_shape)).reshape(variant.example_shape).tolist()
    own = {one.name: one.default for one in variant.parameters if one.default is not None}
    return {
        "summary": f"{variant.title}: {variant.drops}",
        "value": {**dict.fromkeys(arrays, x), "rate": 0.5, "seed": 42, "variant": variant.name, **own},
    }


def _forward_examples() -> dict[str, Any]:
    made = {variant.name: _variant_example(variant, ("x",)) for variant in VARIANTS.values()}
    return {**_FORWARD_JSON, **made}


def _backward_examples() -> dict[str, Any]:
    made = {
        variant.name: _variant_example(variant, ("grad_output", "x") if variant.needs_x else ("grad_output",))
        for variant in VARIANTS.values()
    }
    return {**_BACKWARD_JSON, **made}


def _described(text: str) -> str:
    """Put the table of variants below a text, in Markdown."""
    rows = [
        f"| `{variant.name}` | {variant.title}: {variant.drops} | {variant.constraints} "
        f"| {', '.join(f'`{one.name}`' for one in variant.parameters) or '-'} | {variant.paper} |"
        for variant in VARIANTS.values()
    ]
    head = "| `variant` | Drops | Takes | Own parameters | Paper |\n|---|---|---|---|---|\n"
    return f"{text}\n\n{head}" + "\n".join(rows)


def _extra(
    request: str,
    json_examples: dict[str, Any],
    npy_example: dict[str, Any],
    safetensors_examples: dict[str, Any],
) -> dict[str, Any]:
    return {
        "requestBody": {
            "required": True,
            "content": {
                JSON: {"schema": {"$ref": f"#/components/schemas/{request}"}, "examples": json_examples},
                NPY: binary_body(
                    "The one array. The parameters go into the query, by their names in JSON.",
                    array=npy_example,
                ),
                SAFETENSORS: binary_body(
                    "The arrays, by their names in JSON. The parameters go into the query or the metadata.",
                    **safetensors_examples,
                ),
            },
        },
    }


_FACT_HEADERS: Final = ("Variant", "Rate", "Effective-Rate", "Scale", "Seed", "Offset", "Algorithm")


def _responses(
    answer: str, example: dict[str, Any], description: str, facts: tuple[str, ...] = _FACT_HEADERS
) -> dict[int | str, dict[str, Any]]:
    return {
        200: {
            "description": description,
            "headers": {
                f"Dropout-{fact}": {
                    "description": f"`{fact.lower().replace('-', '_')}` of a binary answer.",
                    "schema": {"type": "string"},
                }
                for fact in facts
            },
            "content": {
                JSON: {"schema": {"$ref": f"#/components/schemas/{answer}"}, "example": example},
                NPY: {"schema": BINARY_SCHEMA},
                SAFETENSORS: {"schema": BINARY_SCHEMA},
            },
        },
        **problem_responses(406, 413, 415, 503),
    }


FORWARD_DESCRIPTION: Final = _described(
    "Set each element to zero with probability `rate` and multiply the others by `scale`; or do what another `variant` "
    "does.\n\nSend the array as JSON, npy or safetensors; the answer has the same form, unless `Accept` asks for "
    "another. The answer tells the seed: the backward pass regenerates the mask from it."
)
BACKWARD_DESCRIPTION: Final = _described(
    "Multiply the gradient by the mask and the scale of the forward pass: exactly its derivative, of each `variant`."
    "\n\nGive the rate, the seed and whatever else the forward pass was given; or, in place of the seed, the mask."
)
FORWARD_EXTRA: Final = _extra(
    "ForwardRequest",
    _forward_examples(),
    binary_example("A 2 x 2 float32 array", encode_npy(_X), "rate=0.5&seed=42"),
    {
        "query": binary_example("Tensor `x`", encode_safetensors({"x": _X}), "rate=0.5&seed=42&return_mask=packed"),
        "metadata": binary_example(
            "Tensor `x`, parameters in the metadata", encode_safetensors({"x": _X}, {"rate": "0.5", "seed": "42"})
        ),
    },
)
BACKWARD_EXTRA: Final = _extra(
    "BackwardRequest",
    _backward_examples(),
    binary_example("A 2 x 2 float32 array", encode_npy(_ONES), "rate=0.5&seed=42"),
    {
        "seed": binary_example(
            "Tensor `grad_output`, parameters in the metadata",
            encode_safetensors({"grad_output": _ONES}, {"rate": "0.5", "seed": "42"}),
        ),
        "mask": binary_example(
            "Tensors `grad_output` and `mask`",
            encode_safetensors({"grad_output": _ONES, "mask": _MASK}, {"rate": "0.5"}),
        ),
    },
)
FORWARD_RESPONSES: Final = _responses(
    "ForwardAnswer", {"y": [[2.0, 4.0], [0.0, 8.0]], **_FACTS}, "The array with elements dropped"
)
BACKWARD_RESPONSES: Final = _responses(
    "BackwardAnswer",
    {"grad_input": [[2.0, 2.0], [0.0, 2.0]], **_FACTS},
    "The gradient with regard to the input",
    (*_FACT_HEADERS, "Grad-Rate"),
)
