from __future__ import annotations

import math
from typing import Any

import pytest
from pydantic import ValidationError

from dropout_service.nn.activations import ACTIVATIONS
from dropout_service.nn.initializers import INITIALIZERS
from dropout_service.nn.losses import LOSSES
from dropout_service.nn.optimizers import OPTIMIZERS
from dropout_service.nn.schedules import SCHEDULES
from dropout_service.training.networks import hidden_dropouts
from dropout_service.training.spec import TrainingSpec

SMALLEST: dict[str, Any] = {"task": "regression", "data": {"dataset": "sha256-0"}}


def allowed(*path: str) -> set[str]:
    """The names that the published schema allows at a place."""
    schema = TrainingSpec.model_json_schema()
    place: Any = schema
    for part in path:
        place = place["properties"][part]
        if "$ref" in place:
            place = schema["$defs"][place["$ref"].rsplit("/", 1)[1]]
    return set(place["discriminator"]["mapping"] if "discriminator" in place else place["enum"])


def test_the_names_of_the_schema_are_those_of_the_tables():
    assert allowed("model", "activation") == set(ACTIVATIONS)
    assert allowed("model", "initializer") == {"auto", *INITIALIZERS}
    assert allowed("loss") == {"auto", *LOSSES}
    assert allowed("optimizer") == set(OPTIMIZERS)
    assert allowed("schedule") == set(SCHEDULES)


def test_a_specification_survives_json():
    spec = TrainingSpec.model_validate(SMALLEST | {"model": {"hidden": [3, 4], "dropout": [0.1, 0.2]}})
    assert TrainingSpec.model_validate_json(spec.model_dump_json()) == spec
    assert hidden_dropouts(spec.model) == (0.1, 0.2)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"data": {}}, "give the id of a stored `dataset`"),
        ({"data": {"dataset": "d", "x": [[1]], "y": [1]}}, "not both"),
        ({"data": {"x": [[1]]}}, "both `x` and `y`"),
        ({"data": {"x": [[1]], "y": [1], "target": "t"}}, "leave them out"),
        ({"model": {"hidden": [3], "dropout": [0.1, 0.2]}}, "2 rates for 1 hidden layers"),
        ({"model": {"dropout": 1.5}}, "less than or equal to 1"),
        ({"model": {"dropout": math.nan}}, "finite"),
        ({"model": {"dropout": "0.5"}}, "valid number"),
        ({"model": {"hidden": ["8"]}}, "valid integer"),
        ({"model": {"residual": 1}}, "valid boolean"),
        ({"optimizer": {"kind": "sgd", "momentum": True}}, "valid number"),
        ({"epochs": "5"}, "valid integer"),
        ({"epochs": True}, "valid integer"),
        ({"data": {"x": [["1"]], "y": [1]}}, "valid number"),
        ({"data": {"x": [[1]], "y": [True]}}, "valid"),
        ({"loss": "cross_entropy"}, "use squared_error, huber, gaussian_nll or quantile"),
        ({"label_smoothing": 0.1}, "`label_smoothing` is for classes"),
        ({"class_weights": "balanced"}, "`class_weights` are for classes"),
        ({"huber_delta": 2.0}, "`huber_delta` is of the loss `huber`"),
        ({"quantiles": [0.5]}, "`quantiles` are of the loss `quantile`"),
        ({"loss": "quantile", "quantiles": [0.5, 0.1]}, "in rising order"),
        ({"loss": "quantile", "quantiles": [0.5, 0.5]}, "in rising order"),
        ({"loss": "quantile", "quantiles": [0.5, 1.0]}, "less than 1"),
        ({"loss": "quantile", "quantiles": []}, "at least 1 item"),
        ({"loss": "huber", "huber_delta": 0}, "greater than 0"),
        ({"task": "classification", "class_weights": {"a": 0}}, "greater than 0"),
        ({"task": "classification", "class_weights": "even"}, "balanced"),
        ({"task": "classification", "label_smoothing": 1}, "less than 1"),
        ({"data": {"x": [[1]], "y": [1], "weight": "w"}}, "leave them out"),
        ({"data": {"dataset": "d", "target": ["a"]}}, "at least 2 items"),
        ({"data": {"dataset": "d", "target": ["a", "b"]}, "task": "classification"}, "has one target"),
        ({"task": "classification", "loss": "gaussian_nll"}, "use cross_entropy or binary_cross_entropy"),
        ({"validation_fraction": 0, "early_stopping": {}}, "validation_fraction above 0"),
        ({"epochs": 5, "schedule": {"kind": "cosine", "warmup_epochs": 5}}, "leave none of the 5 epochs"),
        ({"optimizer": {"kind": "lion"}}, "adamw"),
        ({"epoch": 5}, "Extra inputs"),
    ],
)
def test_a_fault_is_named(fields: dict[str, Any], message: str):
    with pytest.raises(ValidationError, match=message):
        TrainingSpec.model_validate(SMALLEST | fields)
