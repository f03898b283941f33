"""Compiled steps against the passes of the layers: the same network, up to rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dropout_service.nn.layers.rules import DropoutRule, LayerRule
from dropout_service.nn.layout import LARGEST_WEIGHT, can_compile
from dropout_service.nn.losses import LOSSES, LossOptions, make_loss
from dropout_service.nn.network import Network, make_layers, mlp_rules
from dropout_service.nn.optimizers import OPTIMIZERS
from dropout_service.nn.program import Program
from dropout_service.nn.step_plan import StepPlan
from dropout_service.nn.stepping import LayeredSteps, make_steps

INPUTS, BATCH, ROWS = 7, 16, 41
CARDINALITIES = [0, 1, 0, 4, 0, 9, 1]


def hidden(*units: int, rate: float = 0.3, **more: Any) -> tuple[LayerRule, ...]:
    return mlp_rules(units, dropouts=[DropoutRule(rate)] * len(units), **more)


def layer(kind: str, *, rate: float = 0.0, **parameters: Any) -> LayerRule:
    return LayerRule(kind, parameters, DropoutRule(rate))


NETWORKS = {
    "relu": hidden(33, 17),
    "relu without dropout": hidden(20, rate=0.0),
    "everything dropped": hidden(20, rate=1.0),
    "linear model": (),
    "gelu, inputs dropped": hidden(33, 17, activation="gelu", input_dropout=DropoutRule(0.2)),
    "selu": hidden(33, 17, activation="selu"),
    "mish": hidden(33, 17, activation="mish"),
    "residual": hidden(24, 24, 24, activation="silu", residual=True),
    "a layer of dropout": (layer("dense", units=20), layer("dropout", rate=0.4), layer("dense", units=9)),
    "linear and dropped": (layer("dense", units=20, activation="linear", rate=0.5),),
    "bins": (layer("piecewise_linear", bins=5), layer("dense", units=12, rate=0.2)),
    "bins with units": (layer("piecewise_linear", bins=5, units=3), layer("dense", units=12, rate=0.2)),
    "bins, dropped before": (
        layer("dropout", rate=0.2),
        layer("piecewise_linear", bins=5, units=3, activation="linear"),
        layer("dense", units=12, activation="tanh"),
    ),
    "columns": (layer("columns", cardinalities=CARDINALITIES, embedding_dim=3), layer("dense", units=12, rate=0.2)),
    "columns, numbers in bins": (
        layer("columns", cardinalities=CARDINALITIES, numbers="piecewise_linear", bins=5, units=3),
        layer("dropout", rate=0.1),
        layer("dense", units=12, rate=0.2),
    ),
    "columns, bins without units": (
        layer("columns", cardinalities=CARDINALITIES, numbers="piecewise_linear", bins=5),
        layer("dense", units=12),
    ),
    "columns without codes": (
        layer("columns", cardinalities=[0, 1, 0, 0, 0, 0, 1], numbers="piecewise_linear", bins=5, units=3),
        layer("dense", units=12),
    ),
    "columns of codes alone": (layer("columns", cardinalities=[4] * INPUTS), layer("dense", units=12)),
}
HEADS = {
    "cross_entropy": 3,
    "binary_cross_entropy": 1,
    "squared_error": 1,
    "huber": 2,
    "gaussian_nll": 2,
    "quantile": 3,
}


def train(
    make: Any,
    rules: tuple[LayerRule, ...],
    loss_name: str = "cross_entropy",
    *,
    optimizer: str = "adam",
    weighted: bool = False,
    options: dict[str, Any] | None = None,
    learning_rate: float = 0.01,
    split: tuple[int, ...] = (3,),
    **bounds: float,
) -> tuple[Network, np.ndarray]:
    """Take the three steps of an epoch, in calls of so many; return network and sums."""
    rng = np.random.default_rng(0)
    loss = make_loss(loss_name, LossOptions(targets=2 if loss_name == "huber" else 1))
    network = Network(make_layers(INPUTS, rules, HEADS[loss_name]))
    x = rng.standard_normal((ROWS, INPUTS)).astype(np.float32)
    for place in network.codes:
        x[:, place] = np.arange(ROWS) % 5  # some of which are no codes of a column of 4
    if loss.task == "classification":
        y = rng.integers(0, max(2, HEADS[loss_name]), ROWS)
    else:
        y = rng.standard_normal((ROWS, loss.head.targets)).astype(np.float32)
    weights = rng.uniform(0.5, 1.5, ROWS) if weighted else np.empty(0)
    network.initialize("auto", seed=3)
    network.fit(x)
    plan = StepPlan(x, y, weights, batch_rows=BATCH, training_rows=ROWS, seed=5, **bounds)
    stepper = make(network, loss, OPTIMIZERS[optimizer](network.parameters, **(options or {})), plan)
    order, sums, step = rng.permutation(ROWS), loss.sums, 0
    for count in split:
        batches = order[step * BATCH : (step + count) * BATCH]
        rates = np.full(count, learning_rate)
        taken = stepper.take(batches, rates, np.empty((count, 0)), sums=sums, step=step)
        step += taken
        if taken < count:
            break
    network.parameters.values.flags.writeable = False
    return network, np.append(sums, step)


def assert_alike(rules: tuple[LayerRule, ...], *more: Any, **options: Any) -> None:
    compiled, sums = train(Program, rules, *more, **options)
    layered, expected = train(LayeredSteps, rules, *more, **options)
    np.testing.assert_allclose(compiled.parameters.values, layered.parameters.values, rtol=0, atol=2e-5)
    np.testing.assert_allclose(sums, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_trains_as_by_its_layers(name: str):
    assert_alike(NETWORKS[name])


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss(loss: str, *, weighted: bool):
    assert_alike(NETWORKS["relu"], loss, weighted=weighted)


@pytest.mark.parametrize(
    ("optimizer", "options"),
    [
        ("sgd", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
        ("sgd", {}),
        ("adam", {"weight_decay": 0.1, "beta2": 0.95}),
        ("adamw", {"weight_decay": 0.5, "beta1": 0.8}),
    ],
)
@pytest.mark.parametrize("bounds", [{}, {"clip_norm": 0.1}, {"max_norm": 0.5}], ids=str)
def test_every_optimizer_and_bound(optimizer: str, options: dict[str, Any], bounds: dict[str, float]):
    assert_alike(NETWORKS["relu"], optimizer=optimizer, options=options, **bounds)


def test_gradients_are_those_of_the_layers():
    """One step without a learning rate leaves the gradients to be compared, of every kind of layer."""
    for rules in NETWORKS.values():
        compiled, _ = train(Program, rules, learning_rate=0.0, split=(1,))
        layered, _ = train(LayeredSteps, rules, learning_rate=0.0, split=(1,))
        largest = np.abs(layered.parameters.grads).max()
        np.testing.assert_allclose(compiled.parameters.grads, layered.parameters.grads, rtol=0, atol=2e-6 * largest)


def test_calls_of_any_length_give_the_same_bits():
    whole, sums = train(Program, NETWORKS["gelu, inputs dropped"])
    for split in ((1, 1, 1), (2, 1), (1, 2)):
        parts, others = train(Program, NETWORKS["gelu, inputs dropped"], split=split)
        np.testing.assert_array_equal(parts.parameters.values, whole.parameters.values)
        np.testing.assert_array_equal(others, sums)


@pytest.mark.parametrize("make", [Program, LayeredSteps])
def test_a_step_whose_loss_has_no_end_is_not_taken(make: Any):
    network, sums = train(make, NETWORKS["relu"], "squared_error", optimizer="sgd", learning_rate=1e30)
    assert sums[-1] < 3
    assert network.parameters.values.size


@pytest.mark.parametrize(
    "rules",
    [
        (layer("scale"), layer("dense", units=8)),
        (LayerRule("dense", {"units": 8}, DropoutRule(0.3, "gaussian")),),
        (layer("layer_norm"), layer("dense", units=8)),
        hidden(LARGEST_WEIGHT // INPUTS + 1),
    ],
    ids=["scale", "gaussian", "layer_norm", "large"],
)
def test_what_has_no_compiled_form_is_trained_by_its_layers(rules: tuple[LayerRule, ...]):
    network = Network(make_layers(INPUTS, rules, 2))
    assert not can_compile(network)
    nothing = np.empty((0, INPUTS), np.float32), np.empty(0, np.int64), np.empty(0)
    plan = StepPlan(*nothing, batch_rows=4, training_rows=4, seed=0)
    steps = make_steps(network, LOSSES["cross_entropy"], OPTIMIZERS["adam"](network.parameters), plan)
    assert isinstance(steps, LayeredSteps)


def test_a_network_of_float64_is_trained_by_its_layers():
    assert not can_compile(Network(make_layers(INPUTS, NETWORKS["relu"], 2, np.float64), np.float64))
