from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dropout_service.kernels.training.losses import LOG_VARIANCE_FLOOR
from dropout_service.nn.losses import LOSSES

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[Any]


def example(name: str, rows: int = 9, dtype: type = np.float64):
    rng = np.random.default_rng(0)
    loss = LOSSES[name]
    units = loss.outputs or 4
    outputs = (2 * rng.standard_normal((rows, units))).astype(dtype)
    if loss.task == "classification":
        return outputs, rng.integers(0, max(units, 2), rows)
    return outputs, rng.standard_normal(rows).astype(dtype)


def evaluated(name: str, outputs: Floats, targets: NDArray[Any]):
    grad, sums = np.full_like(outputs, np.nan), np.zeros(3)
    LOSSES[name](outputs, targets, grad, sums)
    return grad, sums


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_is_that_of_the_mean_loss(name: str, numeric_gradient: Callable[..., Floats]):
    outputs, targets = example(name)
    grad, _ = evaluated(name, outputs, targets)
    numeric = numeric_gradient(lambda: evaluated(name, outputs, targets)[1][0] / len(outputs), outputs)
    np.testing.assert_allclose(grad, numeric, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", LOSSES)
def test_value_and_gradient_agree_with_torch(name: str):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    oracle = {
        "cross_entropy": functional.cross_entropy,
        "binary_cross_entropy": lambda z, y: functional.binary_cross_entropy_with_logits(z[:, 0], y.double()),
        "squared_error": lambda z, y: functional.mse_loss(z[:, 0], y),
        "gaussian_nll": lambda z, y: functional.gaussian_nll_loss(z[:, 0], y, z[:, 1].exp(), full=True),
    }[name]
    outputs, targets = example(name)
    grad, sums = evaluated(name, outputs, targets)
    z = torch.tensor(outputs, requires_grad=True)
    value = oracle(z, torch.tensor(targets))
    value.backward()
    assert sums[0] / len(outputs) == pytest.approx(value.item(), rel=1e-12)
    np.testing.assert_allclose(grad, z.grad.numpy(), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("name", LOSSES)
def test_sums_of_parts_are_the_sums_of_the_whole(name: str):
    outputs, targets = example(name, rows=10)
    whole = evaluated(name, outputs, targets)[1]
    sums = np.zeros(3)
    for part in (slice(0, 3), slice(3, 10)):
        LOSSES[name](outputs[part], targets[part], np.empty_like(outputs[part]), sums)
    np.testing.assert_allclose(sums, whole, rtol=1e-13)


def test_correct_rows_are_counted():
    logits = np.array([[1.0, 2.0, 0.0], [5.0, 1.0, 1.0], [0.0, 0.0, 1.0]])
    assert evaluated("cross_entropy", logits, np.array([1, 2, 2]))[1][1] == 2
    assert evaluated("binary_cross_entropy", np.array([[2.0], [-1.0], [-3.0]]), np.array([1, 1, 0]))[1][1] == 2


@pytest.mark.parametrize("name", ["squared_error", "gaussian_nll"])
def test_errors_of_a_regression_are_summed(name: str):
    outputs, targets = example(name)
    error = outputs[:, 0] - targets
    np.testing.assert_allclose(evaluated(name, outputs, targets)[1][1:], [(error**2).sum(), np.abs(error).sum()])


@pytest.mark.parametrize("name", ["cross_entropy", "binary_cross_entropy"])
def test_huge_logits_do_not_overflow(name: str):
    outputs, targets = example(name)
    grad, sums = evaluated(name, outputs * 1e4, targets)
    assert np.isfinite(grad).all()
    assert math.isfinite(sums[0])


def test_a_perfect_fit_gains_nothing_below_the_variance_floor():
    outputs = np.array([[1.0, LOG_VARIANCE_FLOOR - 5]])
    grad, sums = evaluated("gaussian_nll", outputs, np.array([1.0]))
    assert sums[0] == pytest.approx(0.5 * (LOG_VARIANCE_FLOOR + math.log(2 * math.pi)))
    assert grad[0, 1] == 0


@pytest.mark.parametrize("name", LOSSES)
def test_float32_gives_the_float64_figures_rounded(name: str):
    outputs, targets = example(name, dtype=np.float32)
    grad, sums = evaluated(name, outputs, targets)
    targets64 = targets if targets.dtype == np.int64 else targets.astype(np.float64)
    grad64, sums64 = evaluated(name, outputs.astype(np.float64), targets64)
    assert grad.dtype == np.float32
    np.testing.assert_allclose(grad, grad64, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(sums, sums64, rtol=1e-12)
