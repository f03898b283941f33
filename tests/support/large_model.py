"""A model whose predictions compute for as long as they are let, in the database of a service that runs."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from dropout_service.blobs import BlobStore
from dropout_service.database.engine import open_database
from dropout_service.models.registry import ModelRegistry
from dropout_service.training.data import TrainingData
from dropout_service.training.spec import TrainingSpec
from dropout_service.training.trainer import Trainer

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FEATURES", "add_large_model", "endless_prediction"]

FEATURES = 4


def add_large_model(data_dir: Path) -> str:
    """Add a network of two layers of 1,024 units to the service on a data folder, and return its id."""
    x = np.random.default_rng(0).normal(size=(64, FEATURES))
    spec = TrainingSpec.model_validate(
        {
            "task": "regression",
            "data": {"dataset": "sha256-0"},
            "model": {"hidden": [1024, 1024], "dropout": 0.5},
            "epochs": 1,
        }
    )
    trainer = Trainer(spec, TrainingData(x, x[:, 0], ("a", "b", "c", "d"), "y", None))
    list(trainer.run())
    engine = open_database(f"sqlite:///{data_dir}/dropout.sqlite3")
    try:
        registry = ModelRegistry(engine, BlobStore((data_dir / "blobs").as_uri()))
        draft = registry.put(trainer.finish(), job_id="job_1")
        registry.record(draft)
    finally:
        engine.dispose()
    return draft.id


def endless_prediction(model_id: str, *, rows: int = 20_000, samples: int = 10_000) -> bytes:
    """Return a request, head and body, for a prediction that takes many minutes."""
    file = io.BytesIO()
    np.save(file, np.zeros((rows, FEATURES), np.float32))
    body = file.getvalue()
    head = (
        f"POST /models/{model_id}/predict?mc_samples={samples} HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: application/x-npy\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
