"""Trainings whose models and checkpoints are kept in tests/data as version 0.1.0 wrote them.

``python tests/support/stored_trainings.py FOLDER`` writes those of the version at hand; the folder of a version is
written once, by that version, and read by every later one.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from dropout_service.models import artifact
from dropout_service.models.prediction import predict
from dropout_service.training.data import TrainingData
from dropout_service.training.spec import TrainingSpec
from dropout_service.training.trainer import Trainer

__all__ = ["FIGURES", "SPECS", "STOP_STEP", "VERSION_0_1", "figures_of", "rows", "training_data", "training_spec"]

VERSION_0_1 = Path(__file__).parents[1] / "data" / "trainings-0.1.0"
STOP_STEP = 11
"""Step at which the checkpoints were taken: inside the third epoch."""
FIGURES = ("probabilities", "probabilities_std", "entropy", "mutual_information", "values", "std", "aleatoric_std")
_UNITS = 12

SPECS: dict[str, dict[str, Any]] = {
    "standard": {
        "task": "classification",
        "loss": "cross_entropy",
        "model": {"hidden": [_UNITS, 8], "dropout": [0.3, 0.2], "input_dropout": 0.1},
        "early_stopping": {"patience": 3},
    },
    "residual": {
        "task": "regression",
        "model": {
            "hidden": [_UNITS, _UNITS],
            "activation": "gelu",
            "residual": True,
            "dropout": {"variant": "drop_path", "rate": 0.3, "schedule": {"kind": "linear", "over_epochs": 3}},
        },
        "optimizer": {"kind": "sgd", "nesterov": True, "learning_rate": 0.01},
        "schedule": {"kind": "cosine", "warmup_epochs": 1},
        "max_norm": 2.0,
    },
    "concrete": {
        "task": "regression",
        "loss": "gaussian_nll",
        "model": {"hidden": [_UNITS], "dropout": {"variant": "concrete", "rate": 0.2}, "activation": "tanh"},
        "optimizer": {"kind": "adamw", "learning_rate": 0.01},
        "clip_norm": 1.0,
    },
    "weights-and-shapes": {
        "task": "classification",
        "model": {
            "hidden": [_UNITS, _UNITS, _UNITS],
            "activation": "selu",
            "dropout": [
                {"variant": "dropconnect", "rate": 0.3},
                {"variant": "dropblock", "rate": 0.2, "shape": [1, 4, 3], "block_size": 2},
                {"variant": "alpha", "rate": 0.1},
            ],
            "input_dropout": {"variant": "locked", "rate": 0.2, "shape": [2, 3], "axis": 1},
        },
        "name": "a name",
    },
}


def training_spec(name: str) -> TrainingSpec:
    base = {"data": {"dataset": "sha256-0"}, "epochs": 5, "batch_size": 8, "seed": 3}
    return TrainingSpec.model_validate(base | SPECS[name])


def training_data(name: str) -> TrainingData:
    """Return the data of a training; the generator is NumPy's PCG64, whose normal numbers have stayed the same."""
    spec = SPECS[name]
    rng = np.random.default_rng(5)
    x = (rng.standard_normal((50, 6)) * 3 + 5).round(6)
    score = (x @ [1.0, -2.0, 0.5, 0.0, 1.5, -1.0]).round(6)
    names = tuple(f"x{i}" for i in range(6))
    if spec["task"] == "regression":
        return TrainingData(x, 10 * score + 100, names, "y", None)
    classes = 3 if spec.get("loss") == "cross_entropy" else 2
    y = (np.argsort(np.argsort(score)) * classes // len(x)).astype(np.int64)
    return TrainingData(x, y, names, "y", tuple(f"class {k}" for k in range(classes)))


def rows() -> np.ndarray:
    """Return the rows that are predicted."""
    return (np.random.default_rng(6).standard_normal((7, 6)) * 3 + 5).round(6)


def figures_of(model: Any) -> dict[str, dict[str, Any]]:
    """Return the figures of a model's predictions, without and with samples."""
    predictions = {"evaluation": predict(model, rows()), "samples": predict(model, rows(), mc_samples=5, seed=9)}
    return {
        kind: {name: getattr(one, name).tolist() for name in FIGURES if getattr(one, name) is not None}
        for kind, one in predictions.items()
    }


def _write(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    expected: dict[str, Any] = {}
    for name in SPECS:
        trainer = Trainer(training_spec(name), training_data(name))
        for _ in trainer.run(lambda trainer=trainer: trainer.step == STOP_STEP):
            pass
        (folder / f"{name}.checkpoint").write_bytes(trainer.checkpoint())
        for _ in trainer.run():
            pass
        model = trainer.finish()
        (folder / f"{name}.safetensors").write_bytes(artifact.dump(model))
        expected[name] = {"weights_digest": model.weights_digest, "predictions": figures_of(model)}
    (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    _write(Path(sys.argv[1]))
