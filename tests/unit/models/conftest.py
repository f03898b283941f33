from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dropout_service.training.data import TrainingData
from dropout_service.training.spec import TrainingSpec
from dropout_service.training.trainer import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable

    from dropout_service.training.trained import TrainedModel

LOSSES = {
    "binary_cross_entropy": 2,
    "cross_entropy": 3,
    "squared_error": 0,
    "huber": 0,
    "gaussian_nll": 0,
    "quantile": 0,
}


@pytest.fixture
def make_model() -> Callable[..., TrainedModel]:
    """A small trained model: its loss, and what replaces the fields of its specification."""

    def make(loss: str = "cross_entropy", **fields: Any) -> TrainedModel:
        rng = np.random.default_rng(7)
        x = rng.standard_normal((60, 4)) * [1, 10, 100, 0.1] + 3
        score = x @ [1.0, 0.1, 0.01, 10.0]
        classes = LOSSES[loss]
        if classes:
            y = np.searchsorted(np.quantile(score, np.arange(1, classes) / classes), score).astype(np.int64)
        data = TrainingData(
            x,
            y if classes else 50 * score,
            ("a", "b", "c", "d"),
            "target",
            tuple(f"class {k}" for k in range(classes)) if classes else None,
        )
        base: dict[str, Any] = {
            "task": "classification" if classes else "regression",
            "loss": loss,
            "data": {"dataset": "sha256-0"},
            "model": {"hidden": [16, 8], "dropout": 0.3},
            "optimizer": {"kind": "adam", "learning_rate": 0.01},
            "epochs": 5,
            "batch_size": 16,
        }
        trainer = Trainer(TrainingSpec.model_validate(base | fields), data)
        list(trainer.run())
        return trainer.finish()

    return make
