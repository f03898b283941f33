from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dropout_service.kernels.training.losses import LOG_VARIANCE_FLOOR
from dropout_service.nn.losses import LOSSES, UNWEIGHTED, Loss, LossOptions, make_loss

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[Any]

TABLE: dict[str, Loss] = {
    **LOSSES,
    "smooth cross_entropy": make_loss("cross_entropy", LossOptions(label_smoothing=0.3)),
    "smooth binary_cross_entropy": make_loss("binary_cross_entropy", LossOptions(label_smoothing=0.3)),
    "huber at 0.7": make_loss("huber", LossOptions(huber_delta=0.7)),
    "median": make_loss("quantile", LossOptions(quantiles=(0.5,))),
    "four quantiles": make_loss("quantile", LossOptions(quantiles=(0.05, 0.3, 0.4, 0.9))),
    "squared_error of 3": make_loss("squared_error", LossOptions(targets=3)),
    "huber of 3": make_loss("huber", LossOptions(targets=3)),
    "gaussian_nll of 3": make_loss("gaussian_nll", LossOptions(targets=3)),
    "quantile of 3": make_loss("quantile", LossOptions(targets=3)),
}
"""Every loss, and those of other options."""
LEVELS = {
    "quantile": (0.1, 0.5, 0.9),
    "median": (0.5,),
    "four quantiles": (0.05, 0.3, 0.4, 0.9),
    "quantile of 3": (0.1, 0.5, 0.9),
}


def example(name: str, rows: int = 9, dtype: type = np.float64):
    rng = np.random.default_rng(0)
    loss = TABLE[name]
    units = loss.outputs or 4
    outputs = (2 * rng.standard_normal((rows, units))).astype(dtype)
    if loss.task == "classification":
        return outputs, rng.integers(0, max(units, 2), rows)
    return outputs, rng.standard_normal((rows, loss.head.targets)).astype(dtype)


def evaluated(name: str, outputs: Floats, targets: NDArray[Any], weights: NDArray[np.float64] = UNWEIGHTED):
    grad, sums = np.full_like(outputs, np.nan), TABLE[name].sums
    TABLE[name](outputs, targets, grad, sums, weights)
    return grad, sums


@pytest.mark.parametrize("name", TABLE)
def test_gradient_is_that_of_the_mean_loss(name: str, numeric_gradient: Callable[..., Floats]):
    outputs, targets = example(name)
    grad, _ = evaluated(name, outputs, targets)
    numeric = numeric_gradient(lambda: evaluated(name, outputs, targets)[1][0] / len(outputs), outputs)
    np.testing.assert_allclose(grad, numeric, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", TABLE)
def test_value_and_gradient_agree_with_torch(name: str):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional

    def pinball(z: Any, y: Any) -> Any:
        levels = torch.tensor(LEVELS[name], dtype=torch.float64)
        return torch.maximum(levels * (y - z), (levels - 1) * (y - z)).mean()

    oracle = {
        "cross_entropy": functional.cross_entropy,
        "smooth cross_entropy": lambda z, y: functional.cross_entropy(z, y, label_smoothing=0.3),
        "binary_cross_entropy": lambda z, y: functional.binary_cross_entropy_with_logits(z[:, 0], y.double()),
        "smooth binary_cross_entropy": lambda z, y: functional.binary_cross_entropy_with_logits(
            z[:, 0], 0.7 * y.double() + 0.15
        ),
        "squared_error": functional.mse_loss,
        "huber": functional.huber_loss,
        "huber at 0.7": lambda z, y: functional.huber_loss(z, y, delta=0.7),
        "gaussian_nll": lambda z, y: functional.gaussian_nll_loss(z[:, :1], y, z[:, 1:].exp(), full=True),
        "quantile": pinball,
        "median": pinball,
        "four quantiles": pinball,
        "squared_error of 3": functional.mse_loss,
        "huber of 3": functional.huber_loss,
        "gaussian_nll of 3": lambda z, y: functional.gaussian_nll_loss(z[:, ::2], y, z[:, 1::2].exp(), full=True),
        "quantile of 3": lambda z, y: pinball(z.reshape(len(z), 3, 3), y[..., None]),
    }[name]
    outputs, targets = example(name)
    grad, sums = evaluated(name, outputs, targets)
    z = torch.tensor(outputs, requires_grad=True)
    value = oracle(z, torch.tensor(targets))
    value.backward()
    assert sums[0] / len(outputs) == pytest.approx(value.item(), rel=1e-12)
    np.testing.assert_allclose(grad, z.grad.numpy(), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("name", TABLE)
def test_sums_of_parts_are_the_sums_of_the_whole(name: str):
    outputs, targets = example(name, rows=10)
    whole = evaluated(name, outputs, targets)[1]
    sums = TABLE[name].sums
    for part in (slice(0, 3), slice(3, 10)):
        TABLE[name](outputs[part], targets[part], np.empty_like(outputs[part]), sums)
    np.testing.assert_allclose(sums, whole, rtol=1e-13)


def test_correct_rows_are_counted():
    logits = np.array([[1.0, 2.0, 0.0], [5.0, 1.0, 1.0], [0.0, 0.0, 1.0]])
    assert evaluated("cross_entropy", logits, np.array([1, 2, 2]))[1][1] == 2
    assert evaluated("binary_cross_entropy", np.array([[2.0], [-1.0], [-3.0]]), np.array([1, 1, 0]))[1][1] == 2


@pytest.mark.parametrize("name", [name for name, loss in TABLE.items() if loss.task == "regression"])
def test_errors_of_each_target_are_summed(name: str):
    outputs, targets = example(name)
    first = {"quantile": 1, "quantile of 3": 1, "four quantiles": 2}.get(name, 0)
    error = outputs[:, first :: outputs.shape[1] // targets.shape[1]] - targets
    expected = [*(error**2).sum(axis=0), *np.abs(error).sum(axis=0)]
    np.testing.assert_allclose(evaluated(name, outputs, targets)[1][1:], expected)


@pytest.mark.parametrize("name", [name for name, loss in TABLE.items() if loss.task == "classification"])
def test_huge_logits_do_not_overflow(name: str):
    outputs, targets = example(name)
    grad, sums = evaluated(name, outputs * 1e4, targets)
    assert np.isfinite(grad).all()
    assert math.isfinite(sums[0])


def test_a_perfect_fit_gains_nothing_below_the_variance_floor():
    outputs = np.array([[1.0, LOG_VARIANCE_FLOOR - 5]])
    grad, sums = evaluated("gaussian_nll", outputs, np.array([[1.0]]))
    assert sums[0] == pytest.approx(0.5 * (LOG_VARIANCE_FLOOR + math.log(2 * math.pi)))
    assert grad[0, 1] == 0


@pytest.mark.parametrize("name", TABLE)
def test_float32_gives_the_float64_figures_rounded(name: str):
    outputs, targets = example(name, dtype=np.float32)
    grad, sums = evaluated(name, outputs, targets)
    targets64 = targets if targets.dtype == np.int64 else targets.astype(np.float64)
    grad64, sums64 = evaluated(name, outputs.astype(np.float64), targets64)
    assert grad.dtype == np.float32
    np.testing.assert_allclose(grad, grad64, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(sums, sums64, rtol=1e-12)


@pytest.mark.parametrize("name", TABLE)
def test_the_weighted_loss_is_the_weighted_mean(name: str, numeric_gradient: Callable[..., Floats]):
    outputs, targets = example(name)
    weights = np.random.default_rng(1).uniform(0, 3, len(outputs))
    weights[2] = 0
    weights /= weights.mean()
    grad, sums = evaluated(name, outputs, targets, weights)
    alone = [evaluated(name, outputs[i : i + 1], targets[i : i + 1]) for i in range(len(outputs))]
    expected = np.average([one[1][0] for one in alone], weights=weights)
    assert sums[0] / len(outputs) == pytest.approx(expected, rel=1e-12)
    np.testing.assert_array_equal(grad[2], 0)
    numeric = numeric_gradient(lambda: evaluated(name, outputs, targets, weights)[1][0] / len(outputs), outputs)
    np.testing.assert_allclose(grad, numeric, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(sums[1:], evaluated(name, outputs, targets)[1][1:])


@pytest.mark.parametrize("name", TABLE)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_weights_of_1_change_no_bit(name: str, dtype: type):
    outputs, targets = example(name, dtype=dtype)
    plain, weighted = (evaluated(name, outputs, targets, weights) for weights in (UNWEIGHTED, np.ones(len(outputs))))
    assert plain[0].tobytes() == weighted[0].tobytes()
    assert plain[1].tobytes() == weighted[1].tobytes()


def test_an_outlier_pulls_no_harder_than_delta():
    outputs = np.array([[100.0], [-100.0], [0.25]])
    grad, _ = evaluated("huber at 0.7", outputs, np.zeros((3, 1)))
    np.testing.assert_allclose(grad[:, 0] * 3, [0.7, -0.7, 0.25])


def test_the_least_pinball_loss_is_at_the_quantiles():
    y = np.random.default_rng(2).standard_normal((999, 1))
    places = np.sort(y[:, 0])
    for level, row in zip(LEVELS["four quantiles"], range(4), strict=True):
        losses = []
        for place in places:
            outputs = np.zeros((len(y), 4))
            outputs[:, row] = place
            losses.append(evaluated("four quantiles", outputs, y)[1][0])
        assert places[int(np.argmin(losses))] == pytest.approx(np.quantile(y, level, method="inverted_cdf"))
