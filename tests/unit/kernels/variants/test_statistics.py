"""Statistics of the noise. The seeds are fixed, so a test that passes once passes always; a bound is that of a
two-sided test at 1e-6 (4.9 standard errors) where it does not say otherwise."""

# ruff: noqa: ANN001 - parameters are what their decorators list

from __future__ import annotations

import math

import numpy as np
import pytest
import reference_variants as reference
from reference_variants import example

from dropout_service.kernels.variants import VARIANTS

SIZE = 1 << 20
Z = 4.9
ALPHA_PRIME = -1.7580993408473766


def mean_factor(name, rate):
    """E[y] / x of a variant, where it is not 1."""
    if "alpha" in name:
        return (1 - rate) * ((1 - rate) * (1 + rate * ALPHA_PRIME**2)) ** -0.5
    if name == "concrete":
        u = (np.arange(1 << 20) + 0.5) / (1 << 20)
        temperature = example("concrete")[1]["temperature"]
        return (1 / (1 + (rate / (1 - rate) * u / (1 - u)) ** (1 / temperature))).mean() / (1 - rate)
    return 1.0


@pytest.mark.parametrize("rate", [0.25, 0.5])
@pytest.mark.parametrize("name", [name for name in VARIANTS if name != "dropblock"])
def test_the_mean_over_seeds_is_the_expectation(name, rate):
    shape, parameters = example(name)
    x = np.linspace(-2, 2, math.prod(shape)).reshape(shape)
    ys = np.stack([VARIANTS[name].forward(x, rate, seed=seed, **parameters) for seed in range(3000)])
    error = ys.std(axis=0) / math.sqrt(len(ys))
    difference = np.abs(ys.mean(axis=0) - x * mean_factor(name, rate))
    assert (difference <= Z * error + 1e-12).all()


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_gaussian_noise_has_the_mean_and_variance_of_an_inverted_mask(rate):
    noise = VARIANTS["gaussian"].forward(np.ones(SIZE), rate, seed=1)
    variance = rate / (1 - rate)
    assert abs(noise.mean() - 1) < Z * math.sqrt(variance / SIZE)
    assert abs(noise.var() - variance) < Z * variance * math.sqrt(2 / SIZE)


def test_gaussian_noise_is_normal():
    z = VARIANTS["gaussian"].forward(np.ones(SIZE), 0.5, seed=2) - 1
    # Moments of the normal distribution: E z^3 = 0, E z^4 = 3, with variances 15 and 96
    assert abs((z**3).mean()) < Z * math.sqrt(15 / SIZE)
    assert abs((z**4).mean() - 3) < Z * math.sqrt(96 / SIZE)
    for bound in (1, 2, 3, 4):
        beyond = math.erfc(bound / math.sqrt(2))
        assert abs(np.mean(np.abs(z) > bound) - beyond) < Z * math.sqrt(beyond / SIZE)
    # Kolmogorov and Smirnov: P(sqrt(n) D > 2.69) = 2 exp(-2 * 2.69^2) = 1e-6
    part = np.sort(z[: 1 << 16])
    expected = np.array([0.5 * math.erfc(-one / math.sqrt(2)) for one in part])
    steps = np.arange(part.size + 1) / part.size
    distance = max((steps[1:] - expected).max(), (expected - steps[:-1]).max())
    assert distance * math.sqrt(part.size) < 2.69


@pytest.mark.parametrize("lag", [1, 2, 8, 15, 16, 17, 31, 32, 33, 64, 4096])
def test_gaussian_noise_is_independent_at_a_lag(lag):
    z = VARIANTS["gaussian"].forward(np.ones(SIZE), 0.5, seed=3) - 1
    for one, two in ((z[:-lag], z[lag:]), (z[:-lag] ** 2 - 1, z[lag:] ** 2 - 1)):
        assert abs((one * two).mean()) < Z * one.std() * two.std() / math.sqrt(one.size)


def test_gaussian_noise_turns_every_way():
    z = (VARIANTS["gaussian"].forward(np.ones(SIZE), 0.5, seed=4) - 1).reshape(-1, 2, 16)
    angle = np.arctan2(z[:, 1], z[:, 0]).reshape(-1)  # of each pair of Box and Muller
    counts = np.histogram(angle, bins=64, range=(-math.pi, math.pi))[0]
    chi_square = ((counts - angle.size / 64) ** 2 / (angle.size / 64)).sum()
    assert abs(chi_square - 63) < Z * math.sqrt(2 * 63)


@pytest.mark.parametrize("name", ["alpha", "feature_alpha"])
@pytest.mark.parametrize("rate", [0.05, 0.3, 0.7])
def test_alpha_keeps_mean_0_and_variance_1(name, rate):
    x = np.random.default_rng(0).normal(size=(1024, 1024))
    y = VARIANTS[name].forward(x, rate, seed=5)
    fourth = (y**4).mean()
    assert abs(y.mean()) < Z / math.sqrt(SIZE)
    assert abs((y**2).mean() - 1) < Z * math.sqrt((fourth - 1) / SIZE)


@pytest.mark.parametrize("block_size", [1, 2, 3, 5])
@pytest.mark.parametrize("rate", [0.05, 0.2, 0.5])
def test_dropblock_drops_as_often_as_blocks_that_overlap_let_it(rate, block_size):
    """A place that k blocks cover is dropped with probability 1 - (1 - gamma)^k, at most k gamma: on the mean, rate."""
    height, width, maps = 9, 11, 20_000
    rows, columns = height - block_size + 1, width - block_size + 1
    gamma = min(1, rate / block_size**2 * height * width / (rows * columns))
    counts = reference.covering(height, width, block_size)
    assert (counts * gamma).mean() == pytest.approx(rate)
    expected = 1 - (1 - gamma) ** counts
    shape = (maps // 10, 10, height, width)
    dropped = ~VARIANTS["dropblock"].mask(shape, rate, seed=6, block_size=block_size)
    each = dropped.reshape(maps, height, width)
    error = np.sqrt(expected * (1 - expected) / maps)
    assert (np.abs(each.mean(axis=0) - expected) < Z * error).all()
    share = each.mean(axis=(1, 2))
    assert abs(share.mean() - expected.mean()) < Z * share.std() / math.sqrt(maps)
    # What DropBlock is known for: with blocks it drops less than the rate, by up to some rate^2 / 2
    assert rate - 0.7 * rate**2 < expected.mean() <= rate + 1e-12


def test_dropblock_keeps_the_sum_of_equal_numbers():
    y = VARIANTS["dropblock"].forward(np.full((4, 8, 20, 20), 3.0), 0.3, seed=7, block_size=5)
    assert y.mean() == pytest.approx(3, rel=1e-12)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_concrete_rounds_to_a_mask_of_the_rate(rate):
    y = VARIANTS["concrete"].forward(np.ones(SIZE), rate, seed=8)
    kept = np.count_nonzero(y > 0.5 / (1 - rate))  # z < 1/2, which has probability 1 - rate at every temperature
    assert abs(kept - SIZE * (1 - rate)) < Z * math.sqrt(SIZE * rate * (1 - rate))
