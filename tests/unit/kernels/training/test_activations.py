"""Compiled activations against NumPy's in float64."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from dropout_service.kernels.training.activations import ACTIVATIONS, LINEAR, activate, exponential
from dropout_service.nn.activations import ACTIVATIONS as LAYERED

Z = np.concatenate(
    [
        np.linspace(-60, 60, 20_001),
        np.linspace(-1, 1, 20_001),
        np.geomspace(1e-30, 1, 500),
        -np.geomspace(1e-30, 1, 500),
        [0.0, 1e4, -1e4],
    ]
).astype(np.float32)


@njit
def exponentials(x: np.ndarray, out: np.ndarray) -> None:
    for i in range(x.size):
        out[i] = exponential(x[i])


def test_the_exponential_is_within_two_units_of_the_last_place():
    x = np.linspace(-87, 88, 500_001).astype(np.float32)
    ours = np.empty_like(x)
    exponentials(x, ours)
    exact = np.exp(x.astype(np.float64))
    assert (np.abs(ours - exact) <= 2 * np.spacing(exact.astype(np.float32))).all()


def test_the_exponential_is_bounded():
    x = np.array([-1e30, -100, 100, 1e30], np.float32)
    ours = np.empty_like(x)
    exponentials(x, ours)
    np.testing.assert_array_equal(ours[:2], ours[0])
    np.testing.assert_array_equal(ours[2:], ours[3])
    assert 0 < ours[0] < 2e-38
    assert 1e38 < ours[3] < np.inf


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_values_and_derivatives_are_those_of_the_layers(name: str):
    z, derivative = Z.copy(), np.empty_like(Z)
    activate(ACTIVATIONS[name], z, derivative)
    exact, exact_derivative = Z.astype(np.float64), np.empty(Z.size)
    LAYERED[name].apply(exact, exact_derivative)
    np.testing.assert_allclose(z, exact, rtol=2e-6, atol=2e-7)
    np.testing.assert_allclose(derivative, exact_derivative, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["silu", "gelu", "tanh", "relu", "selu", "mish"])
def test_small_values_are_exact_to_their_own_size(name: str):
    """An activation that is about linear at 0 loses no digits there."""
    small = np.geomspace(1e-30, 1e-3, 1000).astype(np.float32)
    z = np.concatenate([small, -small])
    ours, exact = z.copy(), z.astype(np.float64)
    activate(ACTIVATIONS[name], ours, np.empty_like(z))
    LAYERED[name].apply(exact, None)
    np.testing.assert_allclose(ours, exact, rtol=5e-7)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_nan_is_not_hidden(name: str):
    z = np.array([1.0, np.nan, -1.0], np.float32)
    activate(ACTIVATIONS[name], z, np.empty_like(z))
    assert np.isnan(z[1])
    assert np.isfinite(z[[0, 2]]).all()


def test_linear_writes_the_derivative_only():
    z, derivative = Z.copy(), np.empty_like(Z)
    activate(LINEAR, z, derivative)
    np.testing.assert_array_equal(z, Z)
    assert (derivative == 1).all()
