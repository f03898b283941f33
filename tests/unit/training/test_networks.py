from __future__ import annotations

import pytest

from dropout_service.nn.layers.rules import DropoutRule
from dropout_service.nn.losses import LOSSES
from dropout_service.nn.network import dropouts, mlp_rules, parameter_shapes
from dropout_service.training.networks import build_layers, build_network, output_units
from dropout_service.training.spec import DataSpec, ModelSpec, TrainingSpec


@pytest.mark.parametrize("hidden", [(), (5,), (5, 6, 7)])
@pytest.mark.parametrize("input_dropout", [0.0, 0.2])
def test_announced_shapes_are_those_of_the_network(hidden: tuple[int, ...], input_dropout: float):
    model = ModelSpec(hidden=hidden, input_dropout=input_dropout)
    spec = TrainingSpec(task="classification", data=DataSpec(dataset="sha256-0"), model=model)
    views = build_network(spec, 4, 3).parameters.views()
    assert {name: view.shape for name, view in views.items()} == parameter_shapes(build_layers(model, 4, 3))


def test_a_rate_for_each_hidden_layer():
    model = ModelSpec(hidden=(5, 6), dropout=(0.1, 0.2))
    assert [dropout and dropout.rate for dropout in dropouts(build_layers(model, 4, 3))] == [None, 0.1, 0.2]


@pytest.mark.parametrize("name", LOSSES)
def test_output_units_follow_the_loss(name: str):
    classes = 7 if LOSSES[name].task == "classification" else None
    expected = {
        "cross_entropy": 7,
        "binary_cross_entropy": 1,
        "squared_error": 1,
        "huber": 1,
        "gaussian_nll": 2,
        "quantile": 3,
    }
    assert output_units(LOSSES[name], classes) == expected[name]


def test_as_many_rates_as_hidden_layers():
    with pytest.raises(ValueError, match="zip"):
        mlp_rules((5, 6), dropouts=(DropoutRule(0.5),))


def test_a_loss_over_classes_needs_them():
    with pytest.raises(ValueError, match="needs classes"):
        output_units(LOSSES["cross_entropy"], None)
