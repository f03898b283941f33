"""Sanity on real data: the figures are loose bounds, several deviations over seeds away from what is reached."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from sklearn import datasets

from dropout_service.training.data import TrainingData
from dropout_service.training.trainer import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable

    from dropout_service.training.spec import TrainingSpec


def trained(spec: TrainingSpec, data: TrainingData):
    trainer = Trainer(spec, data)
    *_, last = trainer.run()
    return last, trainer.finish()


@pytest.mark.parametrize("activation", ["relu", "gelu", "tanh", "sigmoid", "selu"])
def test_digits(make_spec: Callable[..., TrainingSpec], activation: str | None):
    table = datasets.load_digits()
    data = TrainingData(
        np.ascontiguousarray(table.data),
        table.target.astype(np.int64),
        tuple(f"pixel {i}" for i in range(64)),
        "digit",
        tuple(range(10)),
    )
    spec = make_spec(
        task="classification",
        model={"hidden": [64], "dropout": 0.3, "activation": activation},
        epochs=15,
        batch_size=32,
        optimizer={"kind": "adam", "learning_rate": 3e-3},
    )
    last, _ = trained(spec, data)
    assert last.validation["accuracy"] > 0.95


@pytest.mark.parametrize("loss", ["squared_error", "gaussian_nll"])
def test_diabetes(make_spec: Callable[..., TrainingSpec], loss: str):
    """Linear regression explains half of the variance, an rmse of 0.71 deviations; the mean predictor has 1."""
    table = datasets.load_diabetes()
    data = TrainingData(np.ascontiguousarray(table.data), table.target, tuple(table.feature_names), "progression", None)
    spec = make_spec(
        loss=loss,
        model={"hidden": [32], "dropout": 0.2},
        epochs=60,
        batch_size=32,
        optimizer={"kind": "adamw", "learning_rate": 3e-3},
        early_stopping={"patience": 10},
    )
    last, model = trained(spec, data)
    assert model.metrics.validation["rmse"] < 0.85 * table.target.std()
    assert last.best_epoch == model.metrics.epoch
