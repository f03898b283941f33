"""The OpenAPI document: what FastAPI derives from the routes, and the schemas of bodies that it does not parse."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import TYPE_CHECKING, Any, Final

from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from dropout_service.api.http.problems import ProblemDetails

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastapi import FastAPI
    from pydantic import BaseModel

__all__ = ["BINARY_SCHEMA", "binary_body", "binary_example", "describe"]

BINARY_SCHEMA: Final = {"type": "string", "format": "binary"}

_PATH_PARAMETERS: Final = {
    "dataset_id": "Id of the dataset, as `POST /datasets` answered it.",
    "job_id": "Id of the job, as `POST /jobs` answered it.",
    "model_id": "Id of the model: `model` of a job that has succeeded.",
}

_CONDITIONAL: Final = ("/datasets", "/jobs", "/models")
_NOT_MODIFIED: Final = {
    "description": "The answer still is that of `If-None-Match`, which holds the ETag of one before"
}

_REF: Final = "#/components/schemas/{model}"


def describe(app: FastAPI, models: Sequence[type[BaseModel]]) -> None:
    """Complete the document of an application.

    Parameters
    ----------
    app
        The application, with its routes.
    models
        Models of bodies that routes read or write by themselves and name by reference.
    """

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(
                title=app.title,
                version=app.version,
                summary=app.summary,
                description=app.description,
                routes=app.routes,
                tags=app.openapi_tags,
            )
            _, schemas = models_json_schema(
                [(model, "validation") for model in (ProblemDetails, *models)], ref_template=_REF
            )
            components = document.setdefault("components", {}).setdefault("schemas", {})
            components.update(schemas["$defs"])
            for schema in components.values():
                _tell_defaults(schema)
            _describe_paths(document)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi


def _describe_paths(document: dict[str, Any]) -> None:
    for path, methods in document["paths"].items():
        if "get" in methods and path.startswith(_CONDITIONAL):
            methods["get"]["responses"].setdefault("304", _NOT_MODIFIED)
    operations = (operation for path in document["paths"].values() for operation in path.values())
    for parameter in (one for operation in operations for one in operation.get("parameters", ())):
        if parameter["in"] == "path":
            parameter.setdefault("description", _PATH_PARAMETERS[parameter["name"]])
        _without_null(parameter["schema"])


def _without_null(schema: dict[str, Any]) -> None:
    """Take null out of the schema of a parameter: one that has no value is left out."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind.get("type") != "null"]
    if kinds:
        del schema["anyOf"]
        schema.update(kinds[0] if len(kinds) == 1 else {"anyOf": kinds})


def _tell_defaults(schema: dict[str, Any]) -> None:
    """Move defaults that are objects or lists into the descriptions: generators of clients give up on them."""
    parts = [*schema.get("properties", {}).values(), *schema.get("anyOf", ()), *schema.get("oneOf", ())]
    if isinstance(schema.get("items"), dict):
        parts.append(schema["items"])
    for part in parts:
        _tell_defaults(part)
    if isinstance(schema.get("default"), dict | list):
        told = f"Default: `{json.dumps(schema.pop('default'))}`."
        schema["description"] = f"{schema['description']} {told}" if "description" in schema else told


def binary_body(description: str, **examples: dict[str, Any]) -> dict[str, Any]:
    """Describe a body of bytes, with examples in base64 that tools do not take for the bytes themselves.

    Parameters
    ----------
    description
        What the bytes are, and where parameters go.
    examples
        By name, each made by `binary_example`.
    """
    return {"schema": {**BINARY_SCHEMA, "description": description}, "x-examples": examples}


def binary_example(summary: str, parts: Sequence[bytes | memoryview], query: str = "") -> dict[str, Any]:
    """Give an example of a binary body by its base64, and the query it goes with.

    Parameters
    ----------
    summary
        What the body holds.
    parts
        The body.
    query
        Query string, without the question mark.
    """
    example: dict[str, Any] = {
        "summary": summary,
        "base64": b64encode(b"".join(parts)).decode("ascii"),
    }
    if query:
        example["query"] = query
    return example
