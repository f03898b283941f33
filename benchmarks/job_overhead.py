"""What the service adds to a training: a job over HTTP against the same training called in this process.

    python benchmarks/job_overhead.py [--seconds 30] [--rounds 3]

Both sides read the same stored dataset and train the same specification with one thread; the service's side counts
from the submission to the answer of the long-poll, and so has the queue, a new process, events and the model's
storage in it. The sides alternate. Also measured: the time from the submission to the first epoch on a warm service.
"""

# ruff: noqa: E402 - the environment is set before NumPy is loaded

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

THREADS = 1
for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = str(THREADS)  # before NumPy is imported: the same number as in a job
for variable in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(variable, None)

import httpx
import numpy as np

import machine

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from live_server import serve

from dropout_service.blobs import BlobStore
from dropout_service.database.engine import open_database
from dropout_service.datasets.inline import from_arrays
from dropout_service.datasets.loading import load_training_data
from dropout_service.datasets.registry import DatasetRegistry
from dropout_service.kernels.codegen import compile_cache
from dropout_service.kernels.runtime import parallel
from dropout_service.models.artifact import dump
from dropout_service.settings import Settings
from dropout_service.training.spec import TrainingSpec
from dropout_service.training.trainer import Trainer

FIRST_EPOCHS = 30


def by_service(client: httpx.Client, spec: dict[str, Any]) -> tuple[float, str]:
    started = time.perf_counter()
    job = client.post("/jobs", json=spec).raise_for_status().json()
    while job["status"] in {"queued", "running"}:
        job = client.get(f"/jobs/{job['id']}", params={"wait": 60}).json()
    wall_s = time.perf_counter() - started
    if job["status"] != "succeeded":
        sys.exit(f"the job did not succeed: {job['failure']}")
    return wall_s, client.get(f"/models/{job['model']}").json()["weights_digest"]


def in_process(data_dir: Path, spec: TrainingSpec) -> tuple[float, str]:
    settings = Settings(data_dir=data_dir)
    database, blobs = open_database(settings.database_url), BlobStore(settings.blob_url)
    dataset = DatasetRegistry(database, blobs).get(spec.data.dataset or "")
    started = time.perf_counter()
    trainer = Trainer(spec, load_training_data(dataset, blobs, spec))
    for _ in trainer.run():
        pass
    model = trainer.finish()
    dump(model)
    wall_s = time.perf_counter() - started
    database.dispose()
    return wall_s, model.weights_digest


def first_epoch(client: httpx.Client, spec: dict[str, Any]) -> float:
    started = time.perf_counter()
    job = client.post("/jobs", json=spec).raise_for_status().json()
    with client.stream("GET", f"/jobs/{job['id']}/events") as stream:
        for line in stream.iter_lines():
            if line.startswith("data: ") and json.loads(line.removeprefix("data: "))["type"] == "epoch":
                break
    wall_s = time.perf_counter() - started
    client.get(f"/jobs/{job['id']}", params={"wait": 60})
    return wall_s


def upload(client: httpx.Client) -> str:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20_000, 100))
    y = (x[:, :10].sum(axis=1) > 0).astype(int)
    content = bytes(from_arrays(x.tolist(), y.tolist()))
    headers = {"content-type": "application/x-npz"}
    return client.post("/datasets", content=content, headers=headers).raise_for_status().json()["id"]


def specification(dataset: str, epochs: int) -> dict[str, Any]:
    return {
        "task": "classification",
        "data": {"dataset": dataset},
        "model": {"hidden": [256, 256], "dropout": 0.5},
        "batch_size": 256,
        "epochs": epochs,
        "threads": THREADS,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30.0, help="length of the training")
    parser.add_argument("--rounds", type=int, default=3, help="repetitions of each side")
    arguments = parser.parse_args()
    machine.describe()
    parallel.set_threads(THREADS)
    compile_cache.warm()
    with (
        tempfile.TemporaryDirectory() as folder,
        serve(Path(folder), {"DROPOUT_SERVICE_LOG_LEVEL": "warning"}) as server,
        httpx.Client(base_url=server.url, timeout=120) as client,
    ):
        dataset = upload(client)
        probe = TrainingSpec.model_validate(specification(dataset, FIRST_EPOCHS))
        epoch_s = min(in_process(Path(folder), probe)[0] for _ in range(4)) / FIRST_EPOCHS
        by_service(client, specification(dataset, FIRST_EPOCHS))  # from here on the service is warm
        starts = [first_epoch(client, specification(dataset, FIRST_EPOCHS)) for _ in range(5)]
        body = specification(dataset, max(1, round(arguments.seconds / epoch_s)))
        spec = TrainingSpec.model_validate(body)
        pairs: list[tuple[float, float]] = []
        for number in range(arguments.rounds):
            sides = [lambda: by_service(client, body), lambda: in_process(Path(folder), spec)]
            if number % 2:
                sides.reverse()
            results = [side() for side in sides]
            if number % 2:
                results.reverse()
            (service_s, digest), (direct_s, expected) = results
            if digest != expected:
                sys.exit("the two sides trained different weights")
            pairs.append((service_s, direct_s))
            print(f"# round {number + 1}: service {service_s:.2f} s, in process {direct_s:.2f} s")
    print(f"job_wall_service {statistics.median(one for one, _ in pairs):.3f} s")
    print(f"job_wall_in_process {statistics.median(other for _, other in pairs):.3f} s")
    print(f"job_wall_ratio {statistics.median(one / other for one, other in pairs):.4f} ratio")
    print(f"job_submit_to_first_epoch {statistics.median(starts):.3f} s")
    print(f"job_submit_to_first_epoch_worst {max(starts):.3f} s")


if __name__ == "__main__":
    main()
