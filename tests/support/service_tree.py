"""The service as a tree of real processes that a test may kill, freeze and start again over the same data folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import waiting
from live_server import free_port

from dropout_service.blobs import BlobStore
from dropout_service.database.engine import open_database
from dropout_service.jobs.sql import SqlJobStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = ["BRISK", "OCTETS", "PATIENCE_S", "ServiceTree", "alive", "history", "service_tree", "variables", "wait_for"]

PATIENCE_S = 90.0
"""Longest wait for anything that has to happen; on an idle machine it takes a few seconds at most."""

wait_for = partial(waiting.wait_for, patience_s=PATIENCE_S)

OCTETS = {"Content-Type": "application/octet-stream"}
"""The head of an upload whose content tells what it is."""

BRISK: dict[str, Any] = {"workers": 2, "heartbeat_s": 0.2, "lease_s": 4.0, "checkpoint_s": 0.25}
"""Settings under which what takes seconds in service takes a fraction of one here."""

_PASSING = {"duration_s"}
"""Parts of an epoch that differ from run to run."""
_OF_INTERRUPTIONS = {"restarted", "restored", "pausing", "paused", "resumed", "fell_back"}


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def variables(settings: Mapping[str, Any]) -> dict[str, str]:
    return {f"DROPOUT_SERVICE_{name.upper()}": str(value) for name, value in settings.items()}


class ServiceTree:
    """`dropout-service serve` on a data folder and a port of its own; what a user does goes over HTTP.

    The stores are at hand too, to look at what HTTP does not tell, such as the checkpoints of a job.

    Parameters
    ----------
    data_dir
        The data folder; the log is beside it, where a full or broken disk does not reach it.
    prefix
        Arguments to put before the command, such as `unshare`.
    environment
        Variables of the processes.
    settings
        Settings that differ from `BRISK`.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        prefix: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> None:
        self.data_dir = data_dir
        self._database_url = settings.get("database_url", f"sqlite:///{data_dir}/dropout.sqlite3")
        self.log = data_dir.with_name(f"{data_dir.name}.log")
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        self._command = [
            *prefix, sys.executable, "-m", "dropout_service",
            "serve", "--port", str(port), "--data-dir", str(data_dir),
        ]  # fmt: skip
        self._environment = {**os.environ, **variables({**BRISK, **settings}), **(environment or {})}
        self.http = httpx.Client(base_url=self.url, timeout=60)
        self._process: subprocess.Popen[bytes] | None = None

    # --- processes

    def launch(self) -> subprocess.Popen[bytes]:
        """Start the processes, and do not wait until they are ready."""
        with self.log.open("ab") as sink:
            self._process = subprocess.Popen(
                self._command, env=self._environment, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT
            )
        return self._process

    def start(self) -> None:
        """Start the processes; the service is ready and has a dispatcher that can fork when this returns."""
        process = self.launch()
        wait_for(lambda: process.poll() is not None or self.is_ready(), f"the service; its log is {self.log}")
        assert process.poll() is None, self.log.read_text()[-4000:]
        if self._environment.get("DROPOUT_SERVICE_DISPATCHER") != "False":
            wait_for(self.dispatcher, "the dispatcher")

    def is_ready(self) -> bool:
        try:
            return self.http.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    @property
    def api(self) -> psutil.Process:
        """The process that answers HTTP: what was started, or the child of what was put before it."""
        assert self._process is not None
        process = psutil.Process(self._process.pid)
        while "dropout_service" not in process.cmdline():
            (process,) = process.children()
        return process

    def dispatcher(self) -> psutil.Process | None:
        """Return the dispatcher, if it has its forkserver by now."""
        with suppress(psutil.NoSuchProcess):
            return next((child for child in self.api.children() if child.children()), None)
        return None

    def forkserver(self) -> psutil.Process | None:
        with suppress(psutil.NoSuchProcess):
            dispatcher = self.dispatcher()
            return next(iter(dispatcher.children()), None) if dispatcher else None
        return None

    def attempts(self) -> list[psutil.Process]:
        """Return the processes of the attempts."""
        with suppress(psutil.NoSuchProcess):
            forkserver = self.forkserver()
            return [child for child in forkserver.children() if alive(child)] if forkserver else []
        return []

    def kill(self) -> None:
        """Kill -9 of every process of the tree, as a power cut does."""
        api = self.api
        for process in [api, *api.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._reap()

    def stop(self) -> int:
        """SIGTERM; return the exit code."""
        self.api.send_signal(signal.SIGTERM)
        return self._reap()

    def _reap(self) -> int:
        assert self._process is not None
        return self._process.wait(PATIENCE_S)

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()
        self.http.close()

    # --- what a user does

    def upload(self, content: bytes) -> str:
        answer = self.http.post("/datasets", content=content, headers=OCTETS)
        assert answer.status_code in {200, 201}, answer.text
        return str(answer.json()["id"])

    def submit(self, spec: Mapping[str, Any]) -> str:
        answer = self.http.post("/jobs", json=dict(spec))
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def job(self, job_id: str) -> dict[str, Any]:
        return self._read(f"/jobs/{job_id}")

    def ended(self, job_id: str) -> dict[str, Any]:
        """Wait for the end of a job."""
        return wait_for(lambda: (job := self.job(job_id))["finished_at"] and job, f"the end of {job_id}")

    def events(self, job_id: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while True:
            after = found[-1]["sequence"] if found else 0
            items = self._read(f"/jobs/{job_id}/events", after=after, limit=1000)["items"]
            if not items:
                return found
            found += items

    def metrics(self, job_id: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        after: int | None = 0
        while after is not None:
            page = self._read(f"/jobs/{job_id}/metrics", after=after, limit=1000)
            found += page["items"]
            after = page["next_after"]
        return found

    def models_of(self, job_id: str) -> list[dict[str, Any]]:
        return self._read("/models", job=job_id, limit=100)["items"]

    def _read(self, path: str, **query: Any) -> Any:
        answer = self.http.get(path, params=query, headers={"Accept": "application/json"})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def wait_for_no_checkpoints(self) -> None:
        wait_for(lambda: not self.blobs.list("jobs"), "the removal of checkpoints")

    # --- what only the operator sees

    @contextmanager
    def store(self) -> Iterator[SqlJobStore]:
        engine = open_database(self._database_url)
        try:
            yield SqlJobStore(engine)
        finally:
            engine.dispose()

    @property
    def blobs(self) -> BlobStore:
        return BlobStore((self.data_dir / "blobs").as_uri())


def history(tree: ServiceTree, job_id: str) -> dict[str, Any]:
    """Return all of a job that must not depend on interruptions; check that its events are a history at all."""
    job, events, models = tree.job(job_id), tree.events(job_id), tree.models_of(job_id)
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    assert [event["type"] for event in events if event["type"] in {"succeeded", "failed", "cancelled"}] == [
        events[-1]["type"]
    ]
    assert [model["id"] for model in models] == ([job["model"]] if job["model"] else []), "one result at most"
    attempts = [event["data"]["attempt"] for event in events if event["type"] == "started"]
    assert attempts == list(range(1, job["attempt"] + 1))
    told = [
        (event["type"], {name: value for name, value in event["data"].items() if name not in {*_PASSING, "model"}})
        for event in events
        if event["type"] not in _OF_INTERRUPTIONS and not (event["type"] == "started" and event["data"]["attempt"] > 1)
    ]
    metrics = [{name: value for name, value in one.items() if name not in _PASSING} for one in tree.metrics(job_id)]
    weights = [model["weights_digest"] for model in models]
    return {"stop_reason": job["stop_reason"], "weights": weights, "metrics": metrics, "events": told}


@contextmanager
def service_tree(data_dir: Path, **settings: Any) -> Iterator[ServiceTree]:
    """Run a service until the end of the block."""
    tree = ServiceTree(data_dir, **settings)
    try:
        tree.start()
        yield tree
    finally:
        tree.close()
