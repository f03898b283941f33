from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dropout_service.nn.layers.numeric import NumericEmbedding, Periodic, PiecewiseLinear
from dropout_service.nn.layers.rules import DropoutRule, LayerRule
from dropout_service.nn.mode import EVALUATION
from dropout_service.nn.network import Network, make_layers

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[Any]

INPUTS = 3
FORMS: list[tuple[str, dict[str, Any]]] = [
    (kind, parameters | units)
    for kind, parameters in (("periodic", {"frequencies": 4, "sigma": 0.5}), ("piecewise_linear", {"bins": 5}))
    for units in ({"units": 0}, {"units": 2}, {"units": 2, "activation": "linear"}, {"units": 2, "activation": "silu"})
]
each_form = pytest.mark.parametrize(("kind", "parameters"), FORMS)
TRAINING_ROWS = np.random.default_rng(0).standard_normal((200, INPUTS))


def bound(kind: str, dtype: type = np.float64, *, inputs: int = INPUTS, **parameters: Any) -> NumericEmbedding:
    layer = {"periodic": Periodic, "piecewise_linear": PiecewiseLinear}[kind](inputs, dtype=dtype, **parameters)
    network = Network([layer], dtype)
    network.initialize("auto", seed=1)
    network.fit(TRAINING_ROWS.astype(dtype))
    return layer


@each_form
def test_backward_is_the_gradient(kind: str, parameters: dict[str, Any], numeric_gradient: Callable[..., Floats]):
    layer = bound(kind, **parameters)
    rng = np.random.default_rng(2)
    x, grad_output = 2 * rng.standard_normal((6, INPUTS)), rng.standard_normal((6, layer.units))

    def objective() -> float:
        return float((layer.forward(x, EVALUATION, differentiable=False) * grad_output).sum())

    for input_gradient in (True, False):
        layer.forward(x, EVALUATION, differentiable=True)
        grad_input = layer.backward(grad_output.copy(), input_gradient=input_gradient)
        grads = {name: grad.copy() for name, grad in layer.grads.items()}
        if grad_input is not None:
            np.testing.assert_allclose(grad_input.copy(), numeric_gradient(objective, x), rtol=1e-5, atol=1e-7)
        for name, grad in grads.items():
            np.testing.assert_allclose(grad, numeric_gradient(objective, layer.params[name]), rtol=1e-5, atol=1e-7)
        assert (grad_input is not None) == input_gradient


@each_form
def test_value_and_gradient_agree_with_torch(kind: str, parameters: dict[str, Any]):
    torch = pytest.importorskip("torch")
    layer = bound(kind, **parameters)
    rng = np.random.default_rng(3)
    x, grad_output = 2 * rng.standard_normal((7, INPUTS)), rng.standard_normal((7, layer.units))
    z = torch.tensor(x, requires_grad=True)
    params = {name: torch.tensor(array, requires_grad=True) for name, array in layer.params.items()}
    if kind == "periodic":
        phases = 2 * np.pi * params["frequencies"].reshape(INPUTS, -1) * z[..., None]
        expanded = torch.cat([phases.sin(), phases.cos()], dim=-1)
    else:
        edges = np.quantile(TRAINING_ROWS, np.linspace(0, 1, 6), axis=0).T.astype(np.float32).astype(np.float64)
        start, end = torch.tensor(edges[:, :-1]), torch.tensor(edges[:, 1:])
        lines = (z[..., None] - start) / (end - start)
        first, last = lines[..., :1].clamp(max=1), lines[..., -1:].clamp(min=0)
        expanded = torch.cat([first, lines[..., 1:-1].clamp(0, 1), last], dim=-1)
    if parameters["units"]:
        expanded = torch.einsum("rnw,nwu->rnu", expanded, params["weight"]) + params["bias"].reshape(INPUTS, -1)
        activation = parameters.get("activation", "relu")
        expanded = expanded if activation == "linear" else getattr(torch.nn.functional, activation)(expanded)
    y = expanded.reshape(7, -1)
    (y * torch.tensor(grad_output)).sum().backward()
    output = layer.forward(x, EVALUATION, differentiable=True)
    np.testing.assert_allclose(output, y.detach().numpy(), rtol=1e-10, atol=1e-12)
    grad_input = layer.backward(grad_output.copy(), input_gradient=True)
    np.testing.assert_allclose(grad_input, z.grad.numpy(), rtol=1e-10, atol=1e-12)
    for name, grad in layer.grads.items():
        np.testing.assert_allclose(grad, params[name].grad.numpy(), rtol=1e-10, atol=1e-12)


def test_initial_frequencies_have_the_asked_deviation_and_are_a_function_of_the_seed():
    frequencies = bound("periodic", inputs=200, frequencies=50, sigma=0.3, units=0).params["frequencies"]
    # 10 000 draws: 5 standard errors
    assert abs(frequencies.mean()) < 5 * 0.3 / 100
    assert frequencies.std() == pytest.approx(0.3, rel=5 / np.sqrt(2 * frequencies.size))
    again = bound("periodic", inputs=200, frequencies=50, sigma=0.3, units=0).params["frequencies"]
    np.testing.assert_array_equal(frequencies, again)


@pytest.mark.parametrize("kind", ["periodic", "piecewise_linear"])
def test_weights_begin_with_the_variance_of_one_input(kind: str):
    sizes = {"periodic": {"frequencies": 8, "sigma": 1.0}, "piecewise_linear": {"bins": 16}}[kind]
    layer = bound(kind, inputs=100, units=10, **sizes) if kind == "periodic" else None
    if layer is None:
        layer = PiecewiseLinear(100, units=10, dtype=np.float64, **sizes)
        Network([layer], np.float64).initialize("auto", seed=1)
    weight = layer.params["weight"]
    assert weight.shape == (100, 16, 10)
    assert weight.var() == pytest.approx(2 / 16, rel=5 * np.sqrt(2 / weight.size))  # He
    assert not np.array_equal(weight[0], weight[1])


def test_weight_decay_reaches_weights_only():
    layer = Periodic(INPUTS, frequencies=4, sigma=1.0, units=2)
    assert Network([layer]).parameters.weight_count == INPUTS * 8 * 2


def test_bins_hold_as_many_training_rows_each():
    layer = bound("piecewise_linear", bins=4, units=0)
    x = TRAINING_ROWS
    expanded = layer.forward(x, EVALUATION, differentiable=False).reshape(len(x), INPUTS, 4)
    inside = ((expanded > 0) & (expanded < 1)).sum(axis=0)
    assert (np.abs(inside - len(x) / 4) <= 1).all()
    # An order-preserving code: the sum rises with the number
    order = np.argsort(x[:, 0])
    assert (np.diff(expanded[order, 0].sum(axis=1)) > 0).all()


def test_few_distinct_values_have_fewer_bins_and_a_constant_none():
    layer = PiecewiseLinear(3, bins=8, units=0, dtype=np.float64)
    network = Network([layer], np.float64)
    rng = np.random.default_rng(4)
    network.fit(np.column_stack([rng.integers(0, 2, 50), np.full(50, 7.0), rng.standard_normal(50)]))
    used = (layer.buffers["slope"].reshape(3, 8) > 0).sum(axis=1)
    assert used.tolist() == [1, 0, 8]
    output = layer.forward(np.array([[0.0, 9, 0], [1, 7, 0], [3, 7, 0]]), EVALUATION, differentiable=False)
    np.testing.assert_array_equal(output[:, 0], [0, 1, 3])
    np.testing.assert_array_equal(output[:, 1:16], 0)


@pytest.mark.parametrize("values", [[0, 1e-40, 1e-39, 1], [3.0e38, -3.0e38, 0, 1], [1, 1 + 1e-12, 2, 3]])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_training_values_leave_all_finite(values: list[float], dtype: type):
    layer = PiecewiseLinear(1, bins=16, units=0, dtype=dtype)
    network = Network([layer], dtype)
    x = np.array(values, dtype)[:, np.newaxis]
    with np.errstate(under="ignore"):
        network.fit(x)
    assert np.isfinite(network.buffers.values).all()
    assert np.isfinite(network.buffers.values.astype(np.float32)).all()
    assert np.isfinite(layer.forward(x, EVALUATION, differentiable=False)).all()


def test_the_same_rows_give_the_same_bins_to_the_bit():
    first, second = (bound("piecewise_linear", np.float32, bins=16, units=0).buffers for _ in range(2))
    assert all(first[name].tobytes() == second[name].tobytes() for name in first)


@pytest.mark.parametrize("kind", ["periodic", "piecewise_linear"])
def test_dropout_may_come_before_and_is_not_fitted_through(kind: str):
    layers = make_layers(INPUTS, [LayerRule("dropout", {}, DropoutRule(0.5)), LayerRule(kind)], 1, np.float64)
    network = Network(layers, np.float64)
    network.fit(TRAINING_ROWS)
    alone = Network(make_layers(INPUTS, [LayerRule(kind)], 1, np.float64), np.float64)
    alone.fit(TRAINING_ROWS)
    np.testing.assert_array_equal(network.buffers.values, alone.buffers.values)
