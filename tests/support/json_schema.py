"""As much of JSON Schema as the OpenAPI document of the service uses, to check its answers by."""

from __future__ import annotations

from typing import Any

__all__ = ["violations"]

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "null": (type(None),),
    "integer": (int,),
    "number": (int, float),
}


def violations(value: Any, schema: dict[str, Any], document: dict[str, Any], at: str = "") -> list[str]:
    """Tell where a value is not what the schema says."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/components/schemas/")
        return violations(value, document["components"]["schemas"][name], document, at)
    options = schema.get("anyOf") or schema.get("oneOf")
    if options:
        found = [violations(value, option, document, at) for option in options]
        return [] if any(not one for one in found) else min(found, key=len)
    if fault := _own_fault(value, schema):
        return [f"{at}: {value!r} is {fault}"]
    if isinstance(value, dict):
        return _object_violations(value, schema, document, at)
    if isinstance(value, list) and isinstance(schema.get("items"), dict):
        found = [violations(below, schema["items"], document, f"{at}/{n}") for n, below in enumerate(value)]
        return [fault for one in found for fault in one]
    return []


def _object_violations(value: dict[str, Any], schema: dict[str, Any], document: dict[str, Any], at: str) -> list[str]:
    properties = schema.get("properties", {})
    # What is not described is a fault, although JSON Schema would let it pass: the document should be complete.
    others = schema.get("additionalProperties", not properties)
    faults = [f"{at}/{name}: missing" for name in schema.get("required", ()) if name not in value]
    for name, below in value.items():
        described = properties.get(name, others)
        if described is False:
            faults.append(f"{at}/{name}: not described")
        elif isinstance(described, dict):
            faults += violations(below, described, document, f"{at}/{name}")
    return faults


def _own_fault(value: Any, schema: dict[str, Any]) -> str | None:
    if "enum" in schema and value not in schema["enum"]:
        return f"not one of {schema['enum']}"
    if "const" in schema and value != schema["const"]:
        return f"not {schema['const']!r}"
    kind = schema.get("type")
    if kind and (not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "boolean")):
        return f"no {kind}"
    return None
