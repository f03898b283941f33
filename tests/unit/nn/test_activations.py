from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dropout_service.nn.activations import ACTIVATIONS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[Any]

# Away from 0, where ReLU and SELU have a kink
Z = np.concatenate([np.linspace(-6, -0.05, 40), np.linspace(0.05, 6, 40)]).reshape(8, 10)


def applied(name: str, z: Floats):
    value, derivative = z.copy(), np.full_like(z, np.nan)
    ACTIVATIONS[name].apply(value, derivative)
    return value, derivative


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_derivative_is_that_of_the_value(name: str):
    step = 1e-6
    numeric = (applied(name, Z + step)[0] - applied(name, Z - step)[0]) / (2 * step)
    np.testing.assert_allclose(applied(name, Z)[1], numeric, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_value_and_gradient_agree_with_torch(name: str):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    oracle = {"gelu": lambda z: functional.gelu(z, approximate="tanh")}.get(name) or getattr(functional, name)
    z = torch.tensor(Z, requires_grad=True)
    value = oracle(z)
    value.sum().backward()
    ours = applied(name, Z)
    np.testing.assert_allclose(ours[0], value.detach().numpy(), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(ours[1], z.grad.numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_without_a_derivative_the_value_is_the_same(name: str):
    value = Z.copy()
    ACTIVATIONS[name].apply(value, None)
    np.testing.assert_array_equal(value, applied(name, Z)[0])


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extremes_stay_finite(name: str, dtype: type):
    value, derivative = applied(name, np.array([[-200.0, -50.0, 0.0, 50.0, 200.0]], dtype))
    assert value.dtype == dtype
    assert np.isfinite(value).all()
    assert np.isfinite(derivative).all()


@pytest.mark.parametrize("name", ["silu", "mish"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_far_out_they_are_the_identity_and_zero(name: str, dtype: type):
    value, derivative = applied(name, np.array([[-1e4, -300.0, 300.0, 1e4]], dtype))
    np.testing.assert_allclose(value, [[0, 0, 300, 1e4]], atol=1e-30)
    np.testing.assert_allclose(derivative, [[0, 0, 1, 1]], atol=1e-30)


def test_gelu_differs_little_from_its_erf_form():
    torch = pytest.importorskip("torch")
    exact = torch.nn.functional.gelu(torch.tensor(Z)).numpy()
    assert np.abs(applied("gelu", Z)[0] - exact).max() < 5e-4
