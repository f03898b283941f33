"""Both wheels are built, installed into environments that have nothing of ours, and work there."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import waiting
from live_server import free_port
from locks import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE_S = 60.0
WHERE = "import {0}, sys; sys.stdout.write({0}.__file__)"
CLIENT = """
import sys
from dropout_client import Client

client = Client(sys.argv[1])
job = client.jobs.submit(
    task="classification",
    data={"x": [[0, 0], [0, 1], [1, 0], [1, 1]] * 4, "y": ["equal", "different", "different", "equal"] * 4},
    model={"hidden": [16], "dropout": 0.1},
    epochs=3,
    validation_fraction=0,
)
prediction = job.wait(progress=False).model().predict([[0, 1]], mc_samples=5)
print(job.refresh().status, prediction.probabilities.shape)
"""


class Environment:
    """An environment with the dependencies of the one that runs the tests, and of ours only what is installed."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, with_pip=False, symlinks=True)
        self.bin = folder / "bin"
        self.packages = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder), "platbase": str(folder)}))
        # A path, and not a site folder: what is installed there as editable is not looked up.
        (self.packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")

    def run(self, *command: str | Path, **options: Any) -> str:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=self.bin, **options)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def install(self, wheel: Path) -> None:
        python = self.bin / "python"
        self.run(sys.executable, "-m", "pip", "--python", python, "install", "--no-index", "--no-deps", wheel)


def build(project: Path, folder: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=project, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    environment = Environment(tmp_path_factory.mktemp("service"))
    environment.install(build(ROOT, tmp_path_factory.mktemp("service-wheel")))
    return environment


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    environment = Environment(tmp_path_factory.mktemp("client"))
    environment.install(build(ROOT / "clients" / "python", tmp_path_factory.mktemp("client-wheel")))
    return environment


@pytest.fixture
def url(service: Environment, tmp_path: Path) -> Iterator[str]:
    """The service, run by the command that its wheel installs, on a data folder that does not exist yet."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    command = [service.bin / "dropout-service", "serve", "--port", str(port), "--data-dir", tmp_path / "data"]
    log = tmp_path / "log"

    def ready() -> bool:
        try:
            return httpx.get(f"{url}/readyz").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    with log.open("wb") as sink:
        process = subprocess.Popen(command, stdout=sink, stderr=subprocess.STDOUT, cwd=tmp_path)
    try:
        waiting.wait_for(lambda: process.poll() is not None or ready(), "the service", patience_s=PATIENCE_S)
        assert process.poll() is None, log.read_text()
        yield url
    finally:
        process.terminate()
        assert process.wait(PATIENCE_S) == 0


@pytest.mark.slow
def test_the_service_of_the_wheel_trains_for_the_client_of_the_wheel(
    service: Environment, client: Environment, url: str
):
    assert service.run("./python", "-c", WHERE.format("dropout_service")).startswith(str(service.packages))
    assert client.run("./python", "-c", WHERE.format("dropout_client")).startswith(str(client.packages))
    assert client.run("./python", "-c", CLIENT, url) == "succeeded (1, 2)\n"
    assert "succeeded" in client.run("./dropout", "--url", url, "jobs")


@pytest.mark.slow
def test_the_wheels_bring_their_types_migrations_and_commands(service: Environment, client: Environment):
    assert (service.packages / "dropout_service" / "py.typed").exists()
    assert (client.packages / "dropout_client" / "py.typed").exists()
    kept = sorted(path.name for path in (ROOT / "service/dropout_service/database/migrations/versions").glob("0*.py"))
    assert kept == sorted(
        path.name for path in (service.packages / "dropout_service/database/migrations/versions").glob("0*.py")
    )
    assert "serve" in service.run("./dropout-service", "--help")
