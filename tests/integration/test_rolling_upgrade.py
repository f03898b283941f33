"""Two versions at once over one PostgreSQL, on the way up and on the way back: no job is lost, and none runs twice.

The later version is a copy of the package with what a later version brings: a field in the specification, and a
revision of the database.
"""

from __future__ import annotations

import shutil
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import waiting
from live_server import serve

import dropout_service
from dropout_service.database.migrate import revisions
from dropout_service.training.stored import SPEC_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from live_server import LiveServer
    from postgres import PostgresServer

PATIENCE_S = 60.0
LARGE = {"hidden": [256, 256]}  # of a job that is to outlast what happens beside it, on a fast machine too
wait_for = partial(waiting.wait_for, patience_s=PATIENCE_S)
TERMINAL = {"succeeded", "failed", "cancelled"}
LAST = revisions()[-1]
FIELD = "    sharpness: int = Field(default=0, ge=0, exclude_if=lambda value: not value)\n"
REVISION = f"""
import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "{LAST}"
branch_labels = None
depends_on = None
works_with = "{LAST}"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("sharpness", sa.Integer))


def downgrade() -> None:
    op.drop_column("jobs", "sharpness")
"""


def replace(root: Path, *, holding: str, before: str, after: str) -> None:
    (path,) = [path for path in root.rglob("*.py") if holding in path.read_text(encoding="utf-8")]
    text = path.read_text(encoding="utf-8")
    assert text.count(before) == 1, before
    path.write_text(text.replace(before, after), encoding="utf-8")


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds a later version of the package."""
    root = tmp_path_factory.mktemp("later")
    package = root / "dropout_service"
    shutil.copytree(Path(dropout_service.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    name = "    name: Name | None = Field("
    replace(package, holding="class TrainingSpec(", before=name, after=FIELD + name)
    version = f"SPEC_VERSION: Final = {SPEC_VERSION}"
    replace(package, holding=version, before=version, after=f"SPEC_VERSION: Final = {SPEC_VERSION + 1}")
    since = "SINCE: Final[Mapping[tuple[str, ...], int]] = {"
    entry = f'("sharpness",): {SPEC_VERSION + 1}, '
    replace(package, holding=since, before=since, after=since + entry)
    (package / "database" / "migrations" / "versions" / "9999_sharpness.py").write_text(REVISION, encoding="utf-8")
    return root


class Cluster:
    """Replicas of either version over one database and one blob store."""

    def __init__(self, folder: Path, url: str, later: Path) -> None:
        self._folder = folder
        self._later = later
        self._environment = {
            "DROPOUT_SERVICE_DATABASE_URL": url,
            "DROPOUT_SERVICE_BLOB_URL": (folder / "blobs").as_uri(),
            "DROPOUT_SERVICE_WORKERS": "1",
            "DROPOUT_SERVICE_HEARTBEAT_S": "0.3",
            "DROPOUT_SERVICE_CHECKPOINT_S": "0.3",
            "DROPOUT_SERVICE_LEASE_S": "5",
        }

    def former(self) -> Any:
        return serve(self._folder / "former", self._environment)

    def latter(self) -> Any:
        return serve(self._folder / "latter", {**self._environment, "PYTHONPATH": str(self._later)})


@pytest.fixture
def cluster(tmp_path: Path, postgres: PostgresServer, later: Path) -> Iterator[Cluster]:
    with postgres.database("upgrade") as url:
        yield Cluster(tmp_path, url, later)


def submit(server: LiveServer, **fields: Any) -> str:
    x = [[float(i % 7), float(i % 3), float(i * i % 5)] for i in range(200)]
    y = [["even", "odd"][i % 2] for i in range(200)]
    spec = {"task": "classification", "data": {"x": x, "y": y}, "model": {"hidden": [16]}, "epochs": 10}
    answer = httpx.post(f"{server.url}/jobs", json={**spec, **fields}, timeout=PATIENCE_S)
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def get(server: LiveServer, path: str) -> Any:
    answer = httpx.get(f"{server.url}{path}", timeout=PATIENCE_S, headers={"Accept": "application/json"})
    assert answer.status_code == 200, answer.text
    return answer.json()


def ended(server: LiveServer, job_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE_S
    while (job := get(server, f"/jobs/{job_id}?wait=20"))["status"] not in TERMINAL:
        assert time.monotonic() < deadline, job
    return job


def ran_once(server: LiveServer, job_id: str) -> bool:
    """Whether the job has one result, and each of its epochs was recorded once."""
    epochs = [item["epoch"] for item in get(server, f"/jobs/{job_id}/metrics?limit=10000")["items"]]
    models = get(server, f"/models?job={job_id}")["items"]
    return epochs == list(range(1, get(server, f"/jobs/{job_id}")["epochs"] + 1)) and len(models) == 1


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_rolling_upgrade_and_the_way_back_lose_no_job_and_run_none_twice(cluster: Cluster):
    with cluster.former() as former:
        long_one = submit(former, name="under way", epochs=2500, model=LARGE)
        wait_for(lambda: get(former, f"/jobs/{long_one}")["epoch"] > 0, "the job to run")
        with cluster.latter() as latter:  # it migrates the database under the former
            plain = [submit(server, name=f"plain {n}") for n, server in enumerate([former, latter] * 2)]
            sharp = [submit(latter, name=f"sharp {n}", sharpness=3) for n in range(2)]
            for job_id in (*plain, *sharp):
                assert ended(latter, job_id)["status"] == "succeeded"
            # Whoever is asked can show all of them.
            for server in (former, latter):
                shown = {job["id"]: job for job in get(server, "/jobs")["items"]}
                assert {long_one, *plain, *sharp} == set(shown)
                assert all((shown[job_id]["unreadable"] is None) == (server is latter) for job_id in sharp)
                assert all(ran_once(server, job_id) for job_id in (*plain, *sharp))
        # The way back: the latter has gone, and what only it can run waits for it, in nobody's way.
        with cluster.latter() as latter:
            waiting_for_it = submit(latter, name="sharp, too", sharpness=1, priority=100, epochs=4500, model=LARGE)
            wait_for(lambda: get(latter, f"/jobs/{waiting_for_it}")["epoch"] > 0, "the later version to run it")
        assert ended(former, submit(former, name="after it"))["status"] == "succeeded"
        left = get(former, f"/jobs/{waiting_for_it}")
        assert (left["status"], left["spec"]["sharpness"]) == ("queued", 1)
        assert f"has version {SPEC_VERSION + 1} and was made by a later version" in left["unreadable"]
        assert ended(former, long_one)["status"] == "succeeded"
    with cluster.former() as former:  # it starts on the database of the later version
        assert ended(former, submit(former, name="at last"))["status"] == "succeeded"
        with cluster.latter() as latter:
            done = ended(latter, waiting_for_it)
            assert (done["status"], done["unreadable"]) == ("succeeded", None)
            assert done["attempts"][-1]["epoch"], "it went on from its checkpoint"
            assert ran_once(latter, waiting_for_it)
            assert ran_once(latter, long_one)
