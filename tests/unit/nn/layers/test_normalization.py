from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dropout_service.nn.layers.normalization import BatchNorm, LayerNorm
from dropout_service.nn.layers.scale import Scale
from dropout_service.nn.mode import EVALUATION, Mode
from dropout_service.nn.network import Network

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from dropout_service.nn.layers.base import Layer

    Floats = NDArray[Any]

UNITS = 5
TRAINING = Mode.training(seed=1, step=2)
LAYERS: dict[str, Callable[..., Layer]] = {"layer_norm": LayerNorm, "batch_norm": BatchNorm, "scale": Scale}


def bound(name: str, dtype: type = np.float64, **parameters: float) -> Layer:
    """The layer with parameters and buffers that are not those of the beginning."""
    layer = LAYERS[name](UNITS, dtype=dtype, **parameters)
    network = Network([layer], dtype)
    network.initialize("auto", seed=0)
    rng = np.random.default_rng(1)
    for vector in (network.parameters, network.buffers):
        vector.values += rng.uniform(-0.3, 0.5, vector.values.size).astype(dtype)
    return layer


def rows(count: int = 6) -> Floats:
    return 3 * np.random.default_rng(2).standard_normal((count, UNITS)) + 1


@pytest.mark.parametrize("count", [1, 2, 6])
@pytest.mark.parametrize("mode", [TRAINING, EVALUATION, Mode.monte_carlo(1, 2)], ids=lambda mode: mode.kind)
@pytest.mark.parametrize("name", LAYERS)
def test_backward_is_the_gradient(name: str, mode: Mode, count: int, numeric_gradient: Callable[..., Floats]):
    layer = bound(name)
    x, grad_output = rows(count), np.random.default_rng(3).standard_normal((count, UNITS))
    buffers = {kept: buffer.copy() for kept, buffer in layer.buffers.items()}

    def objective() -> float:
        for kept, buffer in buffers.items():  # a training pass moves them
            layer.buffers[kept][:] = buffer
        return float((layer.forward(x, mode, differentiable=False) * grad_output).sum())

    objective()
    layer.forward(x, mode, differentiable=True)
    grad_input = layer.backward(grad_output.copy(), input_gradient=True)
    grads = {parameter: grad.copy() for parameter, grad in layer.grads.items()}
    np.testing.assert_allclose(grad_input, numeric_gradient(objective, x), rtol=1e-5, atol=1e-8)
    for parameter, grad in grads.items():
        numeric = numeric_gradient(objective, layer.params[parameter])
        np.testing.assert_allclose(grad, numeric, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_layer_norm_is_that_of_torch(dtype: type):
    torch = pytest.importorskip("torch")
    layer = bound("layer_norm", dtype)
    x, grad_output = rows().astype(dtype), np.random.default_rng(3).standard_normal((6, UNITS)).astype(dtype)
    tensors = [torch.tensor(array, requires_grad=True) for array in (x, layer.params["gain"], layer.params["bias"])]
    y = torch.nn.functional.layer_norm(tensors[0], (UNITS,), tensors[1], tensors[2])
    (y * torch.tensor(grad_output)).sum().backward()
    tolerance = {"rtol": 1e-11, "atol": 1e-13} if dtype is np.float64 else {"rtol": 2e-5, "atol": 2e-6}
    np.testing.assert_allclose(layer.forward(x, TRAINING, differentiable=True), y.detach().numpy(), **tolerance)
    grad_input = layer.backward(grad_output.copy(), input_gradient=True)
    np.testing.assert_allclose(grad_input, tensors[0].grad.numpy(), **tolerance)
    np.testing.assert_allclose(layer.grads["gain"], tensors[1].grad.numpy(), **tolerance)
    np.testing.assert_allclose(layer.grads["bias"], tensors[2].grad.numpy(), **tolerance)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_batch_norm_over_several_steps_is_that_of_torch(dtype: type):
    torch = pytest.importorskip("torch")
    layer = bound("batch_norm", dtype, momentum=0.8)
    peer = torch.nn.BatchNorm1d(UNITS, momentum=0.2, dtype=torch.float32 if dtype is np.float32 else torch.float64)
    with torch.no_grad():
        peer.weight[:], peer.bias[:] = map(torch.tensor, (layer.params["gain"], layer.params["bias"]))
        peer.running_mean[:] = torch.tensor(layer.buffers["running_mean"])
        peer.running_var[:] = torch.tensor(layer.buffers["running_variance"])
    tolerance = {"rtol": 1e-11, "atol": 1e-13} if dtype is np.float64 else {"rtol": 3e-5, "atol": 3e-6}
    rng = np.random.default_rng(4)
    for count in (6, 2, 9):
        x, grad_output = (rng.standard_normal((count, UNITS)).astype(dtype) for _ in range(2))
        z = torch.tensor(x, requires_grad=True)
        peer.zero_grad()
        y = peer(z)
        (y * torch.tensor(grad_output)).sum().backward()
        np.testing.assert_allclose(layer.forward(x, TRAINING, differentiable=True), y.detach().numpy(), **tolerance)
        np.testing.assert_allclose(
            layer.backward(grad_output.copy(), input_gradient=True), z.grad.numpy(), rtol=1e-3, atol=tolerance["atol"]
        )
        np.testing.assert_allclose(layer.grads["gain"], peer.weight.grad.numpy(), **tolerance)
        np.testing.assert_allclose(layer.buffers["running_mean"], peer.running_mean.numpy(), **tolerance)
        np.testing.assert_allclose(layer.buffers["running_variance"], peer.running_var.numpy(), **tolerance)
    peer.eval()
    x = rng.standard_normal((4, UNITS)).astype(dtype)
    expected = peer(torch.tensor(x)).detach().numpy()
    for mode in (EVALUATION, Mode.monte_carlo(3, 0)):
        np.testing.assert_allclose(layer.forward(x, mode, differentiable=False), expected, **tolerance)


def test_only_training_moves_the_running_moments():
    layer = bound("batch_norm")
    before = {name: buffer.copy() for name, buffer in layer.buffers.items()}
    for mode, count in ((EVALUATION, 6), (Mode.monte_carlo(1, 1), 6), (TRAINING, 1)):
        layer.forward(rows(count), mode, differentiable=False)
        for name, buffer in before.items():
            np.testing.assert_array_equal(layer.buffers[name], buffer)
    layer.forward(rows(), TRAINING, differentiable=False)
    assert all((layer.buffers[name] != buffer).all() for name, buffer in before.items())


@pytest.mark.parametrize("name", ["layer_norm", "batch_norm"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_far_from_zero_nothing_cancels(name: str, dtype: type):
    layer = LAYERS[name](UNITS, dtype=dtype)
    Network([layer], dtype).initialize("auto", seed=0)
    x = (np.random.default_rng(5).integers(0, 64, (64, UNITS)) + 4096).astype(dtype)  # exact in float32
    output = layer.forward(x, TRAINING, differentiable=True).copy()
    near = layer.forward(x - 4096, TRAINING, differentiable=True)
    np.testing.assert_allclose(output, near, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["layer_norm", "batch_norm"])
def test_equal_values_become_the_bias(name: str):
    layer = bound(name)
    output = layer.forward(np.full((4, UNITS), 7.0), TRAINING, differentiable=True)
    np.testing.assert_allclose(output, np.tile(layer.params["bias"], (4, 1)), atol=1e-12)
    assert np.isfinite(layer.backward(np.ones((4, UNITS)), input_gradient=True)).all()


def test_a_scale_begins_as_the_identity():
    layer = Scale(UNITS, dtype=np.float64)
    network = Network([layer], np.float64)
    network.initialize("auto", seed=0)
    np.testing.assert_array_equal(layer.forward(rows(), TRAINING, differentiable=True), rows())
    assert network.parameters.weight_count == 0, "weight decay does not reach it"
