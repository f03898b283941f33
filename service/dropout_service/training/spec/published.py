"""What the registries add to the published schema of a specification.

They compute, and so need NumPy, which reading a specification does without: they are imported when a schema is made.
"""

# ruff: noqa: PLC0415 - as said above

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dropout_service.kernels.variants import Parameter

__all__ = ["NETWORK_KINDS", "describe_layers", "describe_variants"]

NETWORK_KINDS = {
    "number": "number",
    "integer": "integer",
    "axis": "integer",
    "boolean": "boolean",
    "text": "string",
    "integers": "array",
}
"""The kinds of parameters that have a place in a network, and their JSON types."""


def describe_variants(schema: dict[str, Any]) -> None:
    """Write the variants of dropout and their parameters into the schema of ``DropoutSpec``."""
    from dropout_service.kernels.variants import VARIANTS

    properties = schema["properties"]
    properties["variant"]["enum"] = list(VARIANTS)
    properties["variant"]["description"] += " " + "; ".join(
        f"`{name}`: {variant.drops} ({', '.join(('rate', *(one.name for one in _in_networks(variant.parameters))))})"
        for name, variant in VARIANTS.items()
    )
    for name, variant in VARIANTS.items():
        properties |= {one.name: _property(one, name) for one in _in_networks(variant.parameters)}
    schema["additionalProperties"] = False


def describe_layers(schema: dict[str, Any]) -> None:
    """Make the schema of ``LayerSpec`` one of alternatives, one for each kind of layer."""
    from dropout_service.nn.layers import LAYERS

    dropout = schema.pop("properties")["dropout"]
    for keyword in ("required", "additionalProperties", "type"):
        schema.pop(keyword, None)
    schema["oneOf"] = [
        {
            "type": "object",
            "title": f"Layer {name}",
            "description": f"`{name}`: {kind.computes}.",
            "properties": {
                "kind": {"const": name, "title": "Kind", "type": "string"},
                **{one.name: _property(one, name) for one in kind.parameters},
                **({"dropout": dropout} if kind.drops else {}),
            },
            "required": ["kind", *(one.name for one in kind.parameters if one.required)],
            "additionalProperties": False,
        }
        for name, kind in LAYERS.items()
    ]


def _in_networks(parameters: Iterable[Parameter]) -> list[Parameter]:
    return [one for one in parameters if one.kind in NETWORK_KINDS]


def _property(parameter: Parameter, owner: str) -> dict[str, Any]:
    bounds: dict[str, Any] = {
        "exclusiveMinimum" if parameter.exclusive_minimum else "minimum": parameter.minimum,
        "exclusiveMaximum" if parameter.exclusive_maximum else "maximum": parameter.maximum,
        "enum": list(parameter.choices) or None,
    }
    bounds = {name: value for name, value in bounds.items() if value is not None}
    if parameter.kind == "integers":
        bounds = {"items": {"type": "integer", **bounds}}
    if parameter.default is not None:
        bounds["default"] = parameter.default
    return {
        "type": NETWORK_KINDS[parameter.kind],
        "title": parameter.name.replace("_", " ").capitalize(),
        "description": f"Of `{owner}`: {parameter.description}.",
        **bounds,
    }
