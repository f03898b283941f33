"""What the OpenAPI document promises about every operation."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from dropout_service.app import create_app
from dropout_service.settings import Settings

DOCUMENT = create_app(Settings(data_dir=Path("unused"))).openapi()
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS.keys())
def test_every_operation_tells_what_it_is(operation: dict):
    assert operation["summary"]
    assert len(operation["description"]) > 20
    [tag] = operation["tags"]
    assert tag in {described["name"] for described in DOCUMENT["tags"]}
    assert re.fullmatch(r"[a-z_]+", operation["operationId"])


def test_operation_ids_are_unique():
    ids = [operation["operationId"] for operation in OPERATIONS.values()]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS.keys())
def test_every_parameter_is_described(operation: dict):
    for parameter in operation.get("parameters", ()):
        assert parameter.get("description") or parameter["schema"].get("description"), parameter["name"]


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS.keys())
def test_every_operation_describes_its_answers_and_problems(operation: dict):
    assert any(status.startswith("2") for status in operation["responses"])
    assert "422" in operation["responses"]
    for status, response in operation["responses"].items():
        assert response["description"]
        if status.startswith("4"):
            content = response.get("content", {})
            assert set(content) <= {"application/problem+json"}, status


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS.keys())
def test_every_body_has_an_example_in_each_form(operation: dict):
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        assert content.get("example") or content.get("examples") or content.get("x-examples"), media_type


def test_references_lead_somewhere():
    for name in re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(DOCUMENT)):
        assert name in DOCUMENT["components"]["schemas"]


def test_the_schemas_of_the_framework_do_not_show():
    assert "ValidationError" not in json.dumps(DOCUMENT)
