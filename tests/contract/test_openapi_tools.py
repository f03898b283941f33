"""The OpenAPI document in the hands of tools: a validator, a generator of clients, a tester of what it allows."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from live_server import serve
from openapi_spec_validator import OpenAPIV31SpecValidator

from dropout_service.app import create_app
from dropout_service.settings import Settings

if TYPE_CHECKING:
    from live_server import LiveServer

DOCUMENT = create_app(Settings(data_dir=Path("unused"))).openapi()
CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
PATIENCE_S = 60.0


def test_the_document_is_valid():
    assert [error.message for error in OpenAPIV31SpecValidator(DOCUMENT).iter_errors()] == []


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A client made by openapi-python-client, as anybody would make one."""
    folder = tmp_path_factory.mktemp("generated")
    (folder / "openapi.json").write_text(json.dumps(DOCUMENT), encoding="utf-8")
    # The formatter that it would run afterwards changes nothing that matters here.
    (folder / "config.yml").write_text("post_hooks: []\nproject_name_override: generated\n", encoding="utf-8")
    command = [sys.executable, "-m", "openapi_python_client", "generate", "--path", "openapi.json"]
    done = subprocess.run(
        [*command, "--output-path", "out", "--config", "config.yml"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Endpoint will not be generated" not in done.stdout, done.stdout
    return folder / "out"


def test_a_generated_client_forwards_trains_and_predicts(
    generated: Path, live_server: LiveServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.syspath_prepend(str(generated))

    def part(name: str) -> Any:
        return importlib.import_module(f"generated.{name}")

    models = part("models")
    with part("client").Client(base_url=live_server.url) as client:
        request = models.ForwardRequestStandard(x=[[1.0, 2.0], [3.0, 4.0]], rate=0.5, seed=42)
        forward = part("api.dropout.dropout_forward").sync(client=client, body=request)
        assert (forward.y, forward.seed) == ([[2.0, 4.0], [0.0, 8.0]], 42)

        data = models.DataSpec(x=[[0.0], [1.0], [0.0], [1.0]] * 4, y=["no", "yes", "no", "yes"] * 4)
        spec = models.JobRequest(
            task=models.JobRequestTask.CLASSIFICATION, data=data, epochs=2, validation_fraction=0.0
        )
        job = part("api.jobs.submit_job").sync(client=client, body=spec)
        deadline = time.monotonic() + PATIENCE_S
        while job.status not in {"succeeded", "failed"} and time.monotonic() < deadline:
            job = part("api.jobs.get_job").sync(job.id, client=client, wait=10.0)
        assert job.status == "succeeded"

        rows = models.PredictionRequest(x=[[0.0], [1.0]], mc_samples=5)
        prediction = part("api.models.predict").sync(job.model, client=client, body=rows)
        assert (len(prediction.probabilities), prediction.class_labels) == (2, ["no", "yes"])


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_what_the_document_allows_is_answered_as_it_says(tmp_path: Path):
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIGURATION)]
    with serve(tmp_path / "data") as server:  # its own: trainings without end are among what is allowed
        done = subprocess.run(
            [*command, "run", f"{server.url}/openapi.json", "--max-examples", "3", "--seed", "1"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
