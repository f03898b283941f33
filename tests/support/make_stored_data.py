"""Fill a data folder as this version of the service leaves it, for later versions to read.

    python tests/support/make_stored_data.py tests/data/service-0.1.0

Run once for each version whose formats differ; the folder is kept, and `tests/unit/jobs/test_stored_data.py` reads it.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import numpy as np

from dropout_service.blobs import BlobStore
from dropout_service.database.engine import open_database
from dropout_service.database.migrate import revisions, upgrade
from dropout_service.datasets.loading import load_training_data
from dropout_service.datasets.registry import DatasetRegistry
from dropout_service.jobs.attempts import Attempt, Outcome, Report
from dropout_service.jobs.job import Failure, RunOptions, StopReason
from dropout_service.jobs.sql import SqlJobStore
from dropout_service.models.prediction import predict
from dropout_service.models.registry import ModelRegistry
from dropout_service.training.spec import TrainingSpec
from dropout_service.training.trainer import Trainer

ROWS = [[0.0, 0.0], [0.25, 1.0], [1.0, 0.5], [-1.0, 2.0]]
MC_SAMPLES = 7


def main(folder: Path) -> None:
    folder.mkdir(parents=True)
    path = folder / "dropout.sqlite3"
    url = f"sqlite:///{path.absolute()}"
    upgrade(url)
    engine = open_database(url)
    blobs = BlobStore((folder / "blobs").absolute().as_uri())
    jobs, datasets, models = SqlJobStore(engine), DatasetRegistry(engine, blobs), ModelRegistry(engine, blobs)
    rng = np.random.Generator(np.random.Philox(key=7))
    table = rng.normal(size=(60, 2)).round(3)
    lines = [f"{a},{b},{'up' if a * b > 0 else 'down'}" for a, b in table]
    dataset = datasets.add_content("\n".join(["width,height,sign", *lines]).encode(), name="signs")
    spec = TrainingSpec.model_validate(
        {
            "name": "signs",
            "task": "classification",
            "data": {"dataset": dataset.id, "target": "sign"},
            "model": {"hidden": [8, 8], "dropout": [0.25, {"variant": "gaussian", "rate": 0.1}], "input_dropout": 0.1},
            "epochs": 6,
            "batch_size": 16,
            "seed": 3,
        }
    )
    data = load_training_data(dataset, blobs, spec)
    kept: dict[str, object] = {
        "dataset": dataset.id,
        "revision": revisions()[-1],
        "rows": ROWS,
        "mc_samples": MC_SAMPLES,
    }

    def claimed() -> Attempt:
        submitted = jobs.submit(spec)
        (job,) = jobs.claim(1, dispatcher="former", lease_s=15.0)
        assert job.id == submitted.id
        return Attempt(job.id, job.attempt)

    # Succeeded, with a model.
    attempt = claimed()
    trainer = Trainer(spec, data)
    epochs = tuple(metrics.to_json() for metrics in trainer.run())
    draft = models.put(trainer.finish(), job_id=attempt.job_id)
    jobs.finish(
        attempt,
        Outcome(StopReason.COMPLETED, model=draft.id),
        Report(1.0, epochs),
        in_transaction=lambda connection: models.record(draft, connection),
    )
    trained = models.load(models.get(draft.id))
    prediction = predict(trained, np.array(ROWS), mc_samples=MC_SAMPLES, seed=1)
    kept |= {
        "succeeded": attempt.job_id,
        "model": draft.id,
        "weights_digest": draft.weights_digest,
        "probabilities": prediction.probabilities.tolist(),
        "probabilities_std": prediction.probabilities_std.tolist(),
    }
    # Failed, cancelled.
    attempt = claimed()
    jobs.finish(attempt, Outcome(StopReason.DIVERGED, failure=Failure("diverged", "training", 2, "the loss is NaN")))
    kept["failed"] = attempt.job_id
    kept["cancelled"] = jobs.request_cancel(jobs.submit(spec).id).id
    # Paused after two epochs, with a checkpoint from which it ends in the weights above.
    attempt = claimed()
    trainer = Trainer(spec, data)
    steps = trainer.run()
    done = tuple(next(steps).to_json() for _ in range(2))
    key = f"jobs/{attempt.job_id}/{attempt.token}/checkpoint-1"
    blobs.put(key, trainer.checkpoint())
    jobs.request_pause(attempt.job_id)
    jobs.release(attempt, Report(trainer.progress, done, checkpoint=key), reason="pause")
    kept["paused"] = attempt.job_id
    # Held by a dispatcher that is gone; and waiting.
    kept["running"] = claimed().job_id
    kept["queued"] = jobs.submit(spec, RunOptions(priority=5, max_memory_bytes=2_000_000_000, max_attempts=2)).id
    engine.dispose()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
        connection.execute("VACUUM")
    (folder / "kept.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
