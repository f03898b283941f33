"""Every example of the OpenAPI document is sent to a running service, and every answer is what the document says.

An operation that the document gains is tested by being there.
"""

from __future__ import annotations

import base64
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from json_schema import violations

from dropout_service.app import create_app
from dropout_service.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from live_server import LiveServer

DOCUMENT = create_app(Settings(data_dir=Path("unused"))).openapi()


@dataclass(frozen=True)
class Example:
    """One request: an example of a body, or none where the operation has no body."""

    method: str
    path: str
    operation: dict[str, Any]
    media_type: str | None = None
    value: Any = None
    encoded: bool = False
    query: str = ""

    @property
    def content(self) -> bytes:
        if self.encoded:
            return base64.b64decode(self.value)
        return self.value.encode() if isinstance(self.value, str) else json.dumps(self.value).encode()


def examples() -> Iterator[tuple[str, Example]]:
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            name = f"{method.upper()} {path}"
            body = operation.get("requestBody")
            if body is None:
                yield name, Example(method, path, operation)
                continue
            for media_type, content in body["content"].items():
                encoded = content.get("x-examples", {})
                named = encoded or content.get("examples") or {"example": {"value": content["example"]}}
                for key, example in named.items():
                    yield (
                        f"{name} {media_type} {key}",
                        Example(
                            method,
                            path,
                            operation,
                            media_type,
                            example["base64"] if encoded else example["value"],
                            encoded=bool(encoded),
                            query=example.get("query", ""),
                        ),
                    )


EXAMPLES = dict(examples())
JOB = DOCUMENT["paths"]["/jobs"]["post"]["requestBody"]["content"]["application/json"]["examples"]


@pytest.fixture(scope="module")
def client(live_server: LiveServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=live_server.url, timeout=60) as client:
        yield client


class Resources:
    """Makes what the placeholders of paths stand for; what an operation ends is made for it alone."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client
        self.kept: dict[str, str] = {}
        self.count = 0

    def id_of(self, placeholder: str, *, fresh: bool, running: bool) -> str:
        if fresh or placeholder not in self.kept:
            made = {"dataset_id": self.dataset, "job_id": self.job, "model_id": self.model}[placeholder]
            found = self.job(running=True) if running and placeholder == "job_id" else made()
            if fresh:
                return found
            self.kept[placeholder] = found
        return self.kept[placeholder]

    def dataset(self) -> str:
        self.count += 1
        csv = f"a,b,kind\n1,2,x\n3,{self.count},y\n"
        answer = self.client.post("/datasets", content=csv, headers={"Content-Type": "text/csv"})
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    def job(self, *, running: bool = False) -> str:
        spec = next(iter(JOB.values()))["value"]
        if running:
            spec = {**spec, "epochs": 1_000_000}
        answer = self.client.post("/jobs", json=spec)
        assert answer.status_code == 202, answer.text
        return answer.json()["id"] if running else self.ended(answer.json()["id"])["id"]

    def model(self) -> str:
        return self.ended(self.job())["model"]

    def ended(self, job_id: str) -> dict[str, Any]:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            job = self.client.get(f"/jobs/{job_id}", params={"wait": 10}).json()
            if job["status"] in {"succeeded", "failed", "cancelled"}:
                assert job["status"] == "succeeded", job
                return job
        pytest.fail(f"job {job_id} did not end: {job}")


@pytest.fixture(scope="module")
def resources(client: httpx.Client) -> Resources:
    return Resources(client)


@pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES.keys())
def test_the_example_works_and_its_answer_is_as_described(
    client: httpx.Client, resources: Resources, example: Example, request: pytest.FixtureRequest
):
    path = example.path
    for parameter in example.operation.get("parameters", ()):
        if parameter["in"] == "path":
            verb = path.rpartition("/")[2]
            controls = verb in {"cancel", "pause", "resume"}
            found = resources.id_of(parameter["name"], fresh=controls or example.method == "delete", running=controls)
            if controls and verb != "cancel":  # in the end, so that it leaves the worker to others
                request.addfinalizer(lambda job_id=found: client.post(f"/jobs/{job_id}/cancel"))
            path = path.replace(f"{{{parameter['name']}}}", found)
    answer = client.request(
        example.method,
        f"{path}?{example.query}" if example.query else path,
        content=None if example.media_type is None else example.content,
        headers={} if example.media_type is None else {"Content-Type": example.media_type},
    )
    assert answer.is_success, answer.text
    described = example.operation["responses"][str(answer.status_code)]
    assert answer.headers["x-request-id"]
    if not answer.content:
        assert "content" not in described or answer.status_code == 204
        return
    media_type = answer.headers["content-type"].partition(";")[0]
    by_type = {name.partition(";")[0]: content for name, content in described["content"].items()}
    assert media_type in by_type
    if media_type == "application/json":
        assert violations(answer.json(), by_type[media_type]["schema"], DOCUMENT) == []


ANSWERS = {
    f"{method.upper()} {path} {status} {media_type}": content
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
    for status, response in operation["responses"].items()
    for media_type, content in response.get("content", {}).items()
    if "example" in content and media_type.endswith("json")
}


@pytest.mark.parametrize("content", ANSWERS.values(), ids=ANSWERS.keys())
def test_the_example_of_an_answer_fits_its_schema(content: dict[str, Any]):
    assert violations(content["example"], content["schema"], DOCUMENT) == []


@pytest.mark.parametrize("path", ["/dropout/forward", "/dropout/backward"])
def test_the_example_of_an_answer_is_what_the_example_request_gets(client: httpx.Client, path: str):
    operation = DOCUMENT["paths"][path]["post"]
    array = "x" if path.endswith("forward") else "grad_output"
    x = [[1, 2], [3, 4]] if array == "x" else [[1, 1], [1, 1]]
    answer = client.post(path, json={array: x, "rate": 0.5, "seed": 42}).json()
    assert answer == operation["responses"]["200"]["content"]["application/json"]["example"]
