"""One specification for each variant of dropout and each schedule, for tests that run over the tables.

A variant that is added to the table is tested without an entry here, unless it needs a parameter or a shape.
"""

from __future__ import annotations

from typing import Any

from dropout_service.kernels.variants import VARIANTS

__all__ = ["DROPOUTS", "NOT_FOR_INPUTS", "SCHEDULES", "UNITS", "model_with"]

UNITS = 12
"""Units of each hidden layer of `model_with`."""
NOT_FOR_INPUTS = {"dropconnect", "drop_path"}

_OWN: dict[str, dict[str, Any]] = {
    "feature1d": {"shape": [4, 3]},
    "feature2d": {"shape": [3, 2, 2]},
    "feature3d": {"shape": [3, 1, 2, 2]},
    "feature_alpha": {"shape": [4, 3]},
    "locked": {"shape": [3, 4], "axis": 1},
    "dropblock": {"shape": [1, 4, 3], "block_size": 2},
    "concrete": {"temperature": 0.2},
}

DROPOUTS: dict[str, dict[str, Any]] = {name: {"variant": name, "rate": 0.3, **_OWN.get(name, {})} for name in VARIANTS}

SCHEDULES: dict[str, dict[str, Any]] = {
    "constant": {"kind": "constant"},
    "linear": {"kind": "linear", "start": 0.05, "over_epochs": 3},
    "curriculum": {"kind": "curriculum", "gamma": 5.0},
    "early": {"kind": "early", "first_epochs": 2},
    "late": {"kind": "late", "first_epochs": 1},
}


def model_with(variant: str, schedule: str | None = None) -> dict[str, Any]:
    """Return a model of two hidden layers of `UNITS` with the variant in both, where it has a place."""
    dropout = DROPOUTS[variant] | ({} if schedule is None else {"schedule": SCHEDULES[schedule]})
    model: dict[str, Any] = {"hidden": [UNITS, UNITS], "dropout": dropout}
    return model | {"residual": True} if variant == "drop_path" else model
