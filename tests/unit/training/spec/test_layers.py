"""``model.layers``: what ``model.hidden`` is a shorthand for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from dropout_service.nn.activations import ACTIVATIONS
from dropout_service.nn.layers import LAYERS
from dropout_service.training.spec import LayerSpec, ModelSpec
from dropout_service.training.trainer import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable

    from dropout_service.training.data import TrainingData
    from dropout_service.training.spec import TrainingSpec

GAUSSIAN = {"variant": "gaussian", "rate": 0.2, "schedule": {"kind": "linear", "start": 0.1}}
DROP_PATH = {"variant": "drop_path", "rate": 0.3}


def dense(**fields: Any) -> dict[str, Any]:
    return {"kind": "dense", "units": 6, "activation": "relu", **fields}


@pytest.mark.parametrize(
    ("shorthand", "layers"),
    [
        ({"hidden": [6, 5], "dropout": 0.3}, [dense(dropout=0.3), dense(units=5, dropout=0.3)]),
        (
            {"hidden": [6, 6], "dropout": [0.1, GAUSSIAN], "activation": "gelu", "input_dropout": GAUSSIAN},
            [dense(activation="gelu", dropout=0.1), dense(activation="gelu", dropout=GAUSSIAN)],
        ),
        (
            {"hidden": [6, 6], "residual": True, "dropout": DROP_PATH},
            [dense(), dense(residual=True, dropout=DROP_PATH)],
        ),
        (
            {"hidden": [6], "dropout": 0.2, "input_dropout": 0.1},
            [{"kind": "dropout", "dropout": 0.1}, dense(dropout=0.2)],
        ),
    ],
)
def test_a_shorthand_and_its_layers_train_to_the_same_weights(
    make_data: Callable[..., TrainingData],
    make_spec: Callable[..., TrainingSpec],
    shorthand: dict[str, Any],
    layers: list[dict[str, Any]],
):
    written_out: dict[str, Any] = {"layers": layers}
    if "input_dropout" in shorthand and layers[0]["kind"] != "dropout":
        written_out["input_dropout"] = shorthand["input_dropout"]
    trainers = [Trainer(make_spec(model=model), make_data()) for model in (shorthand, written_out)]
    first, second = (list(trainer.run()) for trainer in trainers)
    assert first == second
    ours, theirs = (trainer.finish() for trainer in trainers)
    assert ours.weights_digest == theirs.weights_digest
    assert ours.layers == theirs.layers


def test_layers_and_their_shorthand_are_not_said_together():
    with pytest.raises(ValidationError, match="leave `activation` out"):
        ModelSpec.model_validate({"layers": [dense()], "activation": "tanh"})
    model = ModelSpec.model_validate({"layers": [dense()]})
    assert ModelSpec.model_validate(model.model_dump()) == model


def test_without_layers_a_stored_model_has_no_such_field():
    assert "layers" not in ModelSpec().model_dump()


def test_the_schema_has_an_alternative_for_each_kind():
    schema = LayerSpec.model_json_schema()
    told = {one["properties"]["kind"]["const"]: one for one in schema["oneOf"]}
    assert set(told) == set(LAYERS)
    for name, kind in LAYERS.items():
        own = {one.name for one in kind.parameters}
        assert set(told[name]["properties"]) == {"kind", *own, *({"dropout"} if kind.drops else set())}
        assert kind.computes in told[name]["description"]
        assert told[name]["required"] == ["kind", *(one.name for one in kind.parameters if one.required)]
    assert told["dense"]["properties"]["activation"]["enum"] == [*ACTIVATIONS, "linear"]
