"""Compiled gradients of members that share weights against the passes of the layers: the same, up to rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dropout_service.nn.layers.rules import DropoutRule, LayerRule
from dropout_service.nn.losses import LossOptions, make_loss
from dropout_service.nn.mode import Mode
from dropout_service.nn.network import make_layers, mlp_rules
from dropout_service.nn.shared_network import SharedNetwork
from dropout_service.nn.shared_program import SharedProgram, can_compile_members

INPUTS, ROWS = 7, 21
OUTPUTS = {"cross_entropy": 3, "binary_cross_entropy": 1, "squared_error": 2, "gaussian_nll": 4, "quantile": 6}


def layer(kind: str, *, rate: float = 0.0, **parameters: Any) -> LayerRule:
    return LayerRule(kind, parameters, DropoutRule(rate))


def hidden(*units: int, rate: float = 0.3, **more: Any) -> tuple[LayerRule, ...]:
    return mlp_rules(units, dropouts=[DropoutRule(rate)] * len(units), **more)


NETWORKS = {
    "relu": hidden(33, 17),
    "no dropout": hidden(20, rate=0.0, activation="silu"),
    "narrow": hidden(3, 4, activation="tanh"),
    "residual": hidden(24, 24, 24, activation="silu", residual=True),
    "inputs dropped": hidden(33, 17, activation="gelu", input_dropout=DropoutRule(0.2)),
    "bins": (layer("piecewise_linear", bins=5), layer("dense", units=12, rate=0.2)),
    "bins with units": (layer("piecewise_linear", bins=5, units=3), layer("dense", units=12, rate=0.2)),
    "bins and two": (layer("piecewise_linear", bins=5, units=3), *hidden(12, 9)),
    "scaled, with a connection": (layer("scale"), layer("dense", units=INPUTS, residual=True), layer("dense", units=5)),
    "bins, dropped before": (
        layer("dropout", rate=0.2),
        layer("piecewise_linear", bins=5, units=3, activation="linear"),
        layer("dense", units=12, activation="tanh"),
    ),
    "periodic, dropped behind": (
        layer("periodic", frequencies=3, units=2),
        layer("dropout", rate=0.2),
        layer("dense", units=12),
        layer("dropout", rate=0.4),
    ),
}


@pytest.mark.parametrize(
    ("name", "loss_name", "members"),
    [(name, loss_name, 3) for name in NETWORKS for loss_name in OUTPUTS]
    + [("relu", "squared_error", 20), ("bins with units", "cross_entropy", 17), ("inputs dropped", "quantile", 8)],
)
def test_compiled_gradients_are_those_of_the_layers(name: str, loss_name: str, members: int):
    rng = np.random.default_rng(0)
    outputs = OUTPUTS[loss_name]
    loss = make_loss(loss_name, LossOptions(targets=1 if loss_name.endswith("entropy") else 2))
    network = SharedNetwork(make_layers(INPUTS, NETWORKS[name], outputs), members)
    assert can_compile_members(network)
    x = rng.standard_normal((ROWS, INPUTS)).astype(np.float32)
    network.initialize("auto", seed=3)
    network.fit(x)
    values = network.parameters.values
    values += 0.1 * rng.standard_normal(values.size).astype(np.float32)
    classes = loss.task == "classification"
    y = rng.integers(0, max(2, outputs), ROWS) if classes else rng.standard_normal((ROWS, 2)).astype(np.float32)
    weights, mode = rng.uniform(0.5, 1.5, ROWS), Mode.training(5, 7)
    program = SharedProgram(network, loss, ROWS + 4)
    expected, found = loss.sums, loss.sums

    def lose(given: np.ndarray) -> np.ndarray:
        grad = np.empty_like(given)
        loss(given, y, grad, expected, weights)
        return grad

    network.differentiate(x, mode, lose, rows=ROWS)
    layered = network.parameters.grads.copy()
    network.parameters.grads[:] = np.nan
    for _ in range(2):  # nothing is left of an earlier mini-batch
        found = loss.sums
        program.differentiate(x, y, weights, mode, found)
        np.testing.assert_allclose(network.parameters.grads, layered, rtol=1e-4, atol=2e-6 * np.abs(layered).max())
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    one_thread, sums = network.parameters.grads.copy(), loss.sums
    SharedProgram(network, loss, ROWS, threads=3).differentiate(x, y, weights, mode, sums)
    np.testing.assert_array_equal(network.parameters.grads, one_thread)
    np.testing.assert_array_equal(sums, found)
    fewer = x[:5], y[:5], weights[:5], mode, loss.sums
    program.differentiate(*fewer)
    in_more_room = network.parameters.grads.copy()
    SharedProgram(network, loss, 5).differentiate(*fewer)
    np.testing.assert_array_equal(network.parameters.grads, in_more_room)
