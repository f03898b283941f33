from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from mlp import mlp_layers

from dropout_service.nn.activations import ACTIVATIONS
from dropout_service.nn.layers.rules import DropoutRule, LayerRule
from dropout_service.nn.losses import LOSSES
from dropout_service.nn.mode import Mode
from dropout_service.nn.network import Network, make_layers

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[Any]


def network(
    activation: str | None = "tanh",
    outputs: Floats = 3,
    *,
    input_rate: float = 0.2,
    dtype: type = np.float64,
    rates: tuple[float, ...] = (0.5, 0.3),
):
    layers = mlp_layers(
        4,
        (6, 5),
        outputs,
        activation=activation,
        dropouts=[DropoutRule(rate) for rate in rates],
        input_dropout=DropoutRule(input_rate) if input_rate else None,
        dtype=dtype,
    )
    made = Network(layers, dtype)
    made.initialize("auto", seed=1)
    made.parameters.values += 0.1 * np.random.default_rng(0).standard_normal(made.parameters.values.size)
    return made


@pytest.mark.parametrize("input_rate", [0.0, 0.2])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("name", LOSSES)
def test_the_whole_gradient_with_dropout_active(
    name: str, activation: str | None, input_rate: float, numeric_gradient: Callable[..., Floats]
):
    loss = LOSSES[name]
    made = network(activation, loss.outputs or 3, input_rate=input_rate)
    rng = np.random.default_rng(2)
    x = rng.standard_normal((8, 4))
    y = rng.integers(0, loss.outputs or 3, 8) if loss.task == "classification" else rng.standard_normal((8, 1))
    mode = Mode.training(seed=5, step=11)

    def mean_loss() -> float:
        outputs = made.forward(x, mode)
        sums = np.zeros(3)
        loss(outputs, y, np.empty_like(outputs), sums)
        return sums[0] / len(x)

    outputs = made.forward(x, mode, differentiable=True)
    grad = np.empty_like(outputs)
    loss(outputs, y, grad, np.zeros(3))
    made.backward(grad)
    numeric = numeric_gradient(mean_loss, made.parameters.values)
    np.testing.assert_allclose(made.parameters.grads, numeric, rtol=1e-5, atol=1e-8)
    assert np.abs(numeric).max() > 1e-3


def test_forward_and_gradient_agree_with_torch():
    torch = pytest.importorskip("torch")
    made = network("relu", 3, input_rate=0.0)
    rng = np.random.default_rng(3)
    x, grad_output = rng.standard_normal((8, 4)), rng.standard_normal((8, 3))
    tensors = {name: torch.tensor(view, requires_grad=True) for name, view in made.parameters.views().items()}
    h = torch.tensor(x)
    for i in range(3):
        h = h @ tensors[f"layers.{i}.weight"] + tensors[f"layers.{i}.bias"]
        h = torch.relu(h) if i < 2 else h
    (h * torch.tensor(grad_output)).sum().backward()
    np.testing.assert_allclose(made.forward(x, differentiable=True), h.detach().numpy(), rtol=1e-12)
    made.backward(grad_output.copy())
    for name, view in made.parameters.views(made.parameters.grads).items():
        np.testing.assert_allclose(view, tensors[name].grad.numpy(), rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("input_rate", [0.0, 0.2])
@pytest.mark.parametrize("rates", [(0.5, 0.3), (0.0, 0.5)])
def test_samples_are_the_passes_of_their_masks(rates: tuple[float, ...], input_rate: float):
    made = network("relu", input_rate=input_rate, rates=rates)
    x = np.random.default_rng(4).standard_normal((9, 4))
    modes = [Mode.monte_carlo(1, sample) for sample in range(4)]
    samples = [outputs.copy() for outputs in made.samples(x, modes)]
    for mode, outputs in zip(modes, samples, strict=True):
        np.testing.assert_array_equal(outputs, made.forward(x, mode))
    assert not np.array_equal(samples[0], samples[1])


@pytest.mark.parametrize(
    "rules",
    [
        [LayerRule("scale"), LayerRule("dropout", {}, DropoutRule(0.4))],
        [LayerRule("batch_norm"), LayerRule("dense", {"units": 5}, DropoutRule(0.4))],
        [LayerRule("layer_norm"), LayerRule("dense", {"units": 4, "residual": True}, DropoutRule(0.4))],
        [LayerRule("periodic"), LayerRule("dense", {"units": 5}, DropoutRule(0.4, "gaussian"))],
    ],
    ids=lambda rules: "-".join(rule.kind for rule in rules),
)
def test_what_comes_before_the_first_dropout_is_the_same_in_every_sample(rules: list[LayerRule]):
    made = Network(make_layers(4, rules, 2, np.float64), np.float64)
    made.initialize("auto", seed=1)
    x = np.random.default_rng(4).standard_normal((9, 4))
    modes = [Mode.monte_carlo(1, sample) for sample in range(3)]
    samples = [outputs.copy() for outputs in made.samples(x, modes)]
    for mode, outputs in zip(modes, samples, strict=True):
        np.testing.assert_array_equal(outputs, made.forward(x, mode))
    assert len({outputs.tobytes() for outputs in samples}) == 3


def test_a_linear_model_has_equal_samples():
    made = Network(mlp_layers(4, (), 2, dropouts=()))
    made.initialize("auto", seed=0)
    x = np.ones((3, 4), np.float32)
    samples = [outputs.copy() for outputs in made.samples(x, [Mode.training(0, 0), Mode.training(0, 1)])]
    np.testing.assert_array_equal(samples[0], samples[1])


def test_buffers_serve_changing_numbers_of_rows():
    made = network("gelu")
    x = np.random.default_rng(5).standard_normal((20, 4))
    whole = made.forward(x).copy()
    for rows in (3, 20, 1):
        np.testing.assert_allclose(made.forward(x[:rows]), whole[:rows], rtol=1e-12)


def test_auto_initialisation_suits_each_layer():
    made = Network(mlp_layers(50, (400,), 300, activation="relu", dropouts=[DropoutRule(0.0)]))
    made.initialize("auto", seed=0)
    hidden, output = (layer.weight for layer in made.dense_layers)
    assert hidden.var() == pytest.approx(2 / 50, rel=0.1)  # He
    assert output.var() == pytest.approx(2 / 700, rel=0.1)  # Glorot
