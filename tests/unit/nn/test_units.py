from __future__ import annotations

import numpy as np
import pytest

from dropout_service.nn.heads import gaussian_head, quantile_head, value_head
from dropout_service.nn.units import CurvedUnit

UNIT = CurvedUnit(1.0, 0.5, np.exp)
PASSES = np.random.default_rng(1).standard_normal((4, 200, 6))
"""Four samples of 200 rows."""


@pytest.mark.parametrize("deviation", [0.01, 0.3, 1.0, 1.5])
def test_the_variance_of_a_lognormal_number_is_that_of_its_formula(deviation: float):
    z = np.linspace(-2, 2, 9)
    mean, log_deviation = z * 0.5 + 1.0, deviation * 0.5
    expected = np.expm1(log_deviation**2) * np.exp(2 * mean + log_deviation**2)
    np.testing.assert_allclose(UNIT.variance(z, np.full(9, deviation**2)), expected, rtol=1e-4)


def test_the_variance_is_that_of_many_draws():
    """Through a function with a bend, within 5 standard errors of 200,000 draws."""
    bend = CurvedUnit(0.0, 1.0, lambda z: np.where(z > 0, 3 * z, z))
    z, deviation = 0.4, 0.8
    draws = bend.values(z + deviation * np.random.default_rng(2).standard_normal(200_000))
    squares = (draws - draws.mean()) ** 2
    error = 5 * squares.std() / np.sqrt(len(draws))
    assert bend.variance(np.array([z]), np.array([deviation**2]))[0] == pytest.approx(draws.var(), abs=error, rel=0.01)


def test_values_are_means_of_what_the_network_says_and_deviations_those_of_values():
    figures = value_head(6).figures(iter(PASSES), sampled=True, unit=UNIT)
    np.testing.assert_allclose(figures["values"], UNIT.values(PASSES.mean(axis=0)), rtol=1e-12)
    np.testing.assert_allclose(figures["std"], UNIT.values(PASSES).std(axis=0), rtol=1e-12)


def test_quantiles_are_those_of_the_target_itself():
    head = quantile_head((0.1, 0.5, 0.9), 2)
    unit = CurvedUnit(np.array([1.0, -1.0]), np.array([0.5, 2.0]), np.exp)
    figures = head.figures(iter(PASSES), sampled=True, unit=unit)
    rising = np.sort(PASSES.reshape(4, 200, 2, 3), axis=-1)
    expected = np.exp(rising.mean(axis=0) * unit.scale[:, np.newaxis] + unit.mean[:, np.newaxis])
    np.testing.assert_allclose(figures["quantiles"], expected, rtol=1e-12)
    np.testing.assert_array_equal(figures["values"], figures["quantiles"][..., 1])
    np.testing.assert_allclose(figures["std"], unit.values(rising[..., 1]).std(axis=0), rtol=1e-12)


def test_the_learned_variance_is_that_of_the_target_in_its_unit():
    figures = gaussian_head(3).figures(iter(PASSES), sampled=False, unit=UNIT)
    means, variances = PASSES[..., 0::2], np.exp(PASSES[..., 1::2])
    m, v = means * 0.5 + 1, variances * 0.25
    expected = np.sqrt((np.expm1(v) * np.exp(2 * m + v)).mean(axis=0))
    calm = variances.max(axis=0) < 3  # beyond that the quadrature is no longer exact
    assert calm.mean() > 0.5
    np.testing.assert_allclose(figures["aleatoric_std"][calm], expected[calm], rtol=1e-3)
