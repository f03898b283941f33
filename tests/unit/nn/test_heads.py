from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dropout_service.nn.heads import GAUSSIAN, SIGMOID, SOFTMAX, VALUE, quantile_head
from dropout_service.nn.losses import LOSSES
from dropout_service.nn.units import Unit

if TYPE_CHECKING:
    from dropout_service.nn.heads import Head

LOGITS = np.random.default_rng(1).standard_normal((4, 5, 3)).astype(np.float32) * 3
"""Four samples of five rows."""


def test_every_loss_names_its_head():
    assert {name: loss.head.name for name, loss in LOSSES.items()} == {
        "cross_entropy": "softmax",
        "binary_cross_entropy": "sigmoid",
        "squared_error": "value",
        "huber": "value",
        "quantile": "quantile",
        "gaussian_nll": "gaussian",
    }


def test_probabilities_are_finite_for_any_logit():
    extremes = np.array([[-3e38], [0.0], [3e38]], np.float32)
    np.testing.assert_array_equal(SIGMOID.probabilities(extremes), [[1, 0], [0.5, 0.5], [0, 1]])
    rows = np.array([[3e38, 0, -3e38], [1, 1, 1]], np.float32)
    np.testing.assert_allclose(SOFTMAX.probabilities(rows), [[1, 0, 0], [1 / 3] * 3], rtol=1e-15)


def test_the_figures_of_samples_are_their_moments():
    probabilities = np.stack([SOFTMAX.probabilities(logits) for logits in LOGITS])
    figures = SOFTMAX.figures(iter(LOGITS), sampled=True)
    mean = probabilities.mean(axis=0)
    np.testing.assert_allclose(figures["probabilities"], mean, rtol=1e-12)
    np.testing.assert_allclose(figures["probabilities_std"], probabilities.std(axis=0), rtol=1e-9)
    entropy = -(mean * np.log(mean)).sum(axis=1)
    np.testing.assert_allclose(figures["entropy"], entropy, rtol=1e-12)
    within = -(probabilities * np.log(probabilities)).sum(axis=2).mean(axis=0)
    np.testing.assert_allclose(figures["mutual_information"], entropy - within, rtol=1e-9)


@pytest.mark.parametrize("head", [VALUE, GAUSSIAN], ids=lambda head: head.name)
def test_values_come_in_the_unit_of_the_target(head: Head):
    outputs = LOGITS[:, :, : head.units]
    figures: dict[str, Any] = head.figures(iter(outputs), sampled=True, unit=Unit(100.0, 10.0))
    np.testing.assert_allclose(figures["values"], outputs[:, :, 0].mean(axis=0) * 10.0 + 100, rtol=1e-6)
    np.testing.assert_allclose(figures["std"], outputs[:, :, 0].std(axis=0) * 10.0, rtol=1e-6)
    if head is GAUSSIAN:
        expected = np.sqrt(np.exp(outputs[:, :, 1]).mean(axis=0)) * 10.0
        np.testing.assert_allclose(figures["aleatoric_std"], expected, rtol=1e-5)
    else:
        assert "aleatoric_std" not in figures


@pytest.mark.parametrize("sampled", [False, True])
def test_quantiles_come_in_rising_order_and_the_unit_of_the_target(sampled: bool):  # noqa: FBT001
    head = quantile_head((0.1, 0.4, 0.9))
    passes = LOGITS if sampled else LOGITS[:1]
    figures = head.figures(iter(passes), sampled=sampled, unit=Unit(100.0, 10.0))
    expected = np.sort(passes, axis=2).mean(axis=0) * 10.0 + 100
    assert (np.diff(LOGITS[0]) < 0).any(), "some cross"
    np.testing.assert_allclose(figures["quantiles"], expected, rtol=1e-6)
    np.testing.assert_allclose(figures["values"], expected[:, 1], rtol=1e-6)
    assert ("std" in figures) == sampled
    if sampled:
        np.testing.assert_allclose(figures["std"], np.sort(passes, axis=2)[:, :, 1].std(axis=0) * 10, rtol=1e-5)


@pytest.mark.parametrize(("levels", "middle"), [((0.5,), 0), ((0.1, 0.2), 1), ((0.25, 0.75), 0), ((0.6, 0.9), 0)])
def test_the_value_is_the_quantile_nearest_to_the_median(levels: tuple[float, ...], middle: int):
    assert quantile_head(levels).middle == middle
