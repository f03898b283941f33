from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dropout_service.nn.activations import ACTIVATIONS
from dropout_service.nn.layers.activation import ActivationLayer
from dropout_service.nn.mode import EVALUATION
from dropout_service.nn.network import Network

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[Any]


def bound(activation: str, *, parametric: bool) -> ActivationLayer:
    layer = ActivationLayer(5, activation=activation, parametric=parametric, dtype=np.float64)
    network = Network([layer], np.float64)
    network.initialize("auto", seed=0)
    return layer


@pytest.mark.parametrize("parametric", [False, True])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_backward_is_the_gradient(activation: str, parametric: bool, numeric_gradient: Callable[..., Floats]):  # noqa: FBT001
    layer = bound(activation, parametric=parametric)
    rng = np.random.default_rng(1)
    x, grad_output = rng.standard_normal((6, 5)), rng.standard_normal((6, 5))
    if parametric:
        layer.params["strength"][:] = rng.standard_normal(5)

    def objective() -> float:
        return float((layer.forward(x, EVALUATION, differentiable=False) * grad_output).sum())

    layer.forward(x, EVALUATION, differentiable=True)
    grad_input = layer.backward(grad_output.copy(), input_gradient=True)
    np.testing.assert_allclose(grad_input, numeric_gradient(objective, x), rtol=1e-6, atol=1e-8)
    if parametric:
        numeric = numeric_gradient(objective, layer.params["strength"])
        np.testing.assert_allclose(layer.grads["strength"], numeric, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_strength_begins_as_the_activation_itself(activation: str):
    x = np.random.default_rng(2).standard_normal((6, 5))
    plain, learned = (
        bound(activation, parametric=parametric).forward(x, EVALUATION, differentiable=False)
        for parametric in (False, True)
    )
    np.testing.assert_allclose(learned, plain, rtol=1e-14, atol=1e-15)


def test_with_relu_it_is_prelu():
    torch = pytest.importorskip("torch")
    layer = bound("relu", parametric=True)
    slope = np.linspace(-0.2, 0.5, 5)
    layer.params["strength"][:] = 1 - slope
    rng = np.random.default_rng(3)
    x, grad_output = rng.standard_normal((6, 5)), rng.standard_normal((6, 5))
    z, weight = (torch.tensor(array, requires_grad=True) for array in (x, slope))
    y = torch.nn.functional.prelu(z, weight)
    (y * torch.tensor(grad_output)).sum().backward()
    output = layer.forward(x, EVALUATION, differentiable=True)
    np.testing.assert_allclose(output, y.detach().numpy(), rtol=1e-12, atol=1e-14)
    grad_input = layer.backward(grad_output.copy(), input_gradient=True)
    np.testing.assert_allclose(grad_input, z.grad.numpy(), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(layer.grads["strength"], -weight.grad.numpy(), rtol=1e-12)
