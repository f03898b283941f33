"""Trainings of many kinds, each about a second long on a fast machine, for tests that interrupt them."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

__all__ = ["DATASETS", "TRAININGS"]

_ROWS, _FEATURES = 800, 12


def _table(target: str) -> bytes:
    rng = np.random.default_rng(7)
    x = rng.normal(size=(_ROWS, _FEATURES)).astype(np.float32)
    y = {
        "classes": (x[:, 0] * x[:, 1] > 0).astype(np.int64) + (x[:, 2] > 1),
        "number": np.sin(x[:, 0]) + 0.5 * x[:, 1] + 0.1 * rng.normal(size=_ROWS),
    }[target]
    file = io.BytesIO()
    np.savez(file, x=x, y=y)
    return file.getvalue()


DATASETS = {"classification": _table("classes"), "regression": _table("number")}
"""Content to upload, by task."""


def _inline() -> dict[str, Any]:
    rng = np.random.default_rng(8)
    x = rng.normal(size=(240, 4)).round(3)
    return {"x": x.tolist(), "y": ["in" if near else "out" for near in (x**2).sum(axis=1) < 3]}


def _hidden(*units: int, dropout: Any = 0.4, **more: Any) -> dict[str, Any]:
    return {"hidden": list(units), "dropout": dropout, **more}


TRAININGS: dict[str, dict[str, Any]] = {
    "adam": {"task": "classification", "model": _hidden(256, 256), "epochs": 400},
    "momentum and cosine": {
        "task": "regression",
        "model": _hidden(256, 192, activation="gelu"),
        "optimizer": {"kind": "sgd", "momentum": 0.9, "nesterov": True, "learning_rate": 0.01},
        "schedule": {"kind": "cosine", "warmup_epochs": 5},
        "max_norm": 2.0,
        "epochs": 400,
    },
    "early stopping": {
        "task": "regression",
        "model": _hidden(192, 192, dropout=0.2),
        "optimizer": {"kind": "adam", "learning_rate": 0.0005},
        "early_stopping": {"patience": 60, "min_delta": 0.0005},
        "epochs": 1000,
    },
    "concrete": {
        "task": "classification",
        "model": _hidden(48, 48, dropout={"variant": "concrete", "rate": 0.3, "temperature": 0.2}),
        "epochs": 300,
    },
    "gaussian and clipping": {
        "task": "regression",
        "loss": "gaussian_nll",
        "model": _hidden(48, 48, dropout={"variant": "gaussian", "rate": 0.2}),
        "clip_norm": 1.0,
        "epochs": 440,
    },
    "curriculum": {
        "task": "classification",
        "model": _hidden(
            256, 192, dropout={"variant": "standard", "rate": 0.5, "schedule": {"kind": "curriculum", "gamma": 5.0}}
        ),
        "optimizer": {"kind": "adamw", "learning_rate": 0.002},
        "schedule": {"kind": "step", "every_epochs": 80, "factor": 0.5},
        "epochs": 400,
    },
    "stochastic depth": {
        "task": "classification",
        "model": _hidden(48, 48, 48, dropout={"variant": "drop_path", "rate": 0.3}, residual=True),
        "epochs": 320,
    },
    "dropconnect, late": {
        "task": "regression",
        "model": _hidden(
            32, 32, dropout={"variant": "dropconnect", "rate": 0.3, "schedule": {"kind": "late", "first_epochs": 50}}
        ),
        "epochs": 400,
    },
    "in place": {
        "task": "classification",
        "data": _inline(),
        "model": _hidden(128, 128, input_dropout=0.1),
        "batch_size": 8,
        "epochs": 400,
    },
    "no validation": {
        "task": "classification",
        "model": _hidden(64, 64, dropout=[0.2, {"variant": "batchwise", "rate": 0.4}]),
        "validation_fraction": 0,
        "batch_size": 16,
        "epochs": 320,
    },
}
"""Specifications by what is peculiar to them; `data` is to be added where there is none."""
