from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dropout_service.training.data import TrainingData
from dropout_service.training.spec import TrainingSpec

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def make_data() -> Callable[..., TrainingData]:
    """Rows of a noisy linear rule: ``classes`` of them, or values when it is 0."""

    def make(rows: int = 40, features: int = 4, classes: int = 0) -> TrainingData:
        rng = np.random.default_rng(rows + features + classes)
        x = rng.standard_normal((rows, features)) * 3 + 5
        score = x @ rng.standard_normal(features) + 0.3 * rng.standard_normal(rows)
        names = tuple(f"x{i}" for i in range(features))
        if not classes:
            return TrainingData(x, 10 * score + 100, names, "y", None)
        y = (np.argsort(np.argsort(score)) * classes // rows).astype(np.int64)
        return TrainingData(x, y, names, "y", tuple(f"class {k}" for k in range(classes)))

    return make


@pytest.fixture
def make_spec() -> Callable[..., TrainingSpec]:
    """A small specification; keyword arguments replace its fields."""

    def make(**fields: Any) -> TrainingSpec:
        base: dict[str, Any] = {
            "task": "regression",
            "data": {"dataset": "sha256-0"},
            "model": {"hidden": [6, 5], "dropout": 0.3},
            "epochs": 4,
            "batch_size": 8,
            "seed": 3,
        }
        return TrainingSpec.model_validate(base | fields)

    return make
