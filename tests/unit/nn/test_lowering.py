"""What a network is lowered to computes what the network computes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from evaluate_ops import OPERATIONS, evaluate
from toy_layer import CENTRE

from dropout_service.nn.activations import ACTIVATIONS
from dropout_service.nn.layers import LAYERS
from dropout_service.nn.layers.rules import DropoutRule, LayerRule
from dropout_service.nn.losses import LOSSES, LossOptions, make_loss
from dropout_service.nn.lowering import lower
from dropout_service.nn.network import Network, make_layers

UNITS = 6
RULES: dict[str, list[LayerRule]] = {
    "dense": [
        LayerRule("dense", {"units": UNITS, "activation": activation, "residual": residual}, DropoutRule(0.3))
        for activation in ACTIVATIONS
        for residual in (False, True)
    ],
    "dropout": [LayerRule("dropout", {}, DropoutRule(0.3)), LayerRule("dropout", {}, DropoutRule(0.3, "gaussian"))],
    "activation": [
        LayerRule("activation", {"activation": "mish", "parametric": parametric}) for parametric in (False, True)
    ],
    "layer_norm": [LayerRule("layer_norm"), LayerRule("layer_norm", {"epsilon": 0.1})],
    "batch_norm": [LayerRule("batch_norm"), LayerRule("batch_norm", {"epsilon": 0.1})],
    "scale": [LayerRule("scale")],
    "periodic": [
        LayerRule("periodic", {"frequencies": 3, "sigma": 0.5, **more})
        for more in ({}, {"units": 2}, {"units": 2, "activation": "linear"})
    ],
    "piecewise_linear": [
        LayerRule("piecewise_linear", {"bins": 3, **more})
        for more in ({}, {"units": 2}, {"units": 2, "activation": "linear"})
    ],
    "columns": [
        LayerRule("columns"),
        LayerRule("columns", {"cardinalities": [0, 4, 1, 0, 9, 0], "embedding_dim": 3}),
        LayerRule("columns", {"cardinalities": [4] * UNITS}),
        LayerRule(
            "columns", {"cardinalities": [0, 4, 1, 0, 0, 0], "numbers": "periodic", "frequencies": 2, "units": 3}
        ),
        LayerRule("columns", {"cardinalities": [0, 4, 1, 0, 0, 0], "numbers": "piecewise_linear", "bins": 3}),
    ],
    "centre": [LayerRule("centre", {"momentum": 0.5})],
}
"""Rules by kind: each form of evaluation that a kind has."""


FIRST = {"periodic", "piecewise_linear", "columns"}
"""Kinds that have their place at the inputs."""


def assert_lowered(rules: list[LayerRule], loss: str, targets: int = 1):
    head = make_loss(loss, LossOptions(targets=targets)).head
    made = Network(make_layers(UNITS, rules, head.units or 3, np.float64), np.float64)
    made.initialize("auto", seed=1)
    rng = np.random.default_rng(2)
    made.fit(rng.standard_normal((40, UNITS)))
    for vector in (made.parameters, made.buffers):
        vector.values += 0.1 * rng.standard_normal(vector.values.size)
    x = rng.standard_normal((5, UNITS))
    x[:, made.codes] = rng.integers(0, 4, (5, len(made.codes)))
    arrays = made.parameters.views() | made.buffers.views()
    lowered = evaluate(lower(made.layers, head), {"x": x, **arrays})
    outputs = made.forward(x)
    np.testing.assert_allclose(lowered[f"layers.{len(rules)}.y"], outputs, rtol=1e-12, atol=1e-14)
    figures = head.figures(iter([outputs]), sampled=False)
    assert set(figures) == set(head.outputs)
    for name in head.outputs:
        np.testing.assert_allclose(lowered[name].reshape(figures[name].shape), figures[name], rtol=1e-12)


def test_every_kind_of_layer_is_lowered_here():
    assert set(LAYERS) <= set(RULES)
    assert set(ACTIVATIONS) <= set(OPERATIONS)


@pytest.mark.parametrize("kind", RULES)
def test_a_lowered_layer_computes_what_the_layer_computes(kind: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(LAYERS, CENTRE.name, CENTRE)
    for rule in RULES[kind]:
        before = [] if kind in FIRST else [LayerRule("dense", {"units": UNITS})]
        assert_lowered([*before, rule], "squared_error")


@pytest.mark.parametrize("targets", [1, 3])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_lowered_head_gives_the_figures_of_a_prediction(loss: str, targets: int):
    assert_lowered([LayerRule("dense", {"units": UNITS})], loss, targets)


def test_a_whole_network_is_lowered_in_order(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(LAYERS, CENTRE.name, CENTRE)
    rules: list[Any] = [RULES["dropout"][0], *RULES["dense"], *RULES["centre"], *RULES["dense"]]
    assert_lowered(rules, "gaussian_nll")
