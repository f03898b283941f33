"""The OpenAPI document: what FastAPI derives from the routes, and the schemas of bodies that it does not parse."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any, Final

from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from dropout_service.api.http.problems import ProblemDetails

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fastapi import FastAPI
    from pydantic import BaseModel

__all__ = ["BINARY_SCHEMA", "binary_example", "describe", "query_parameters"]

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


def query_parameters(model: type[BaseModel], *, condition: str) -> list[dict[str, Any]]:
    """Describe the fields of a model as query parameters, none of them required.

    Parameters
    ----------
    model
        The model that the route validates the query by.
    condition
        When they are read, such as "For a binary body."
    """
    properties: Mapping[str, dict[str, Any]] = model.model_json_schema(ref_template=_REF)["properties"]
    described: list[dict[str, Any]] = []
    for name, schema in properties.items():
        simple = next((part for part in schema.get("anyOf", ()) if part["type"] != "null"), schema)
        if simple["type"] == "array":
            simple = {"type": "string", "examples": ["1,784"]}
        kept = {key: value for key, value in simple.items() if key not in {"description", "title"}}
        described.append(
            {
                "name": name,
                "in": "query",
                "required": False,
                "description": f"{condition} {schema['description']}",
                "schema": {"title": schema["title"], **kept},
            }
        )
    return described


def binary_example(summary: str, parts: Sequence[bytes | memoryview], query: str = "") -> dict[str, Any]:
    """Describe a binary body by its base64 (``x-encoding`` says so), and the query it goes with.

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
        "summary": f"{summary} (shown in base64)",
        "value": b64encode(b"".join(parts)).decode("ascii"),
        "x-encoding": "base64",
    }
    if query:
        example["x-query"] = query
    return example
