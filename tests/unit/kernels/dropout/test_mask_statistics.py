"""Statistics of the masks. The seeds are fixed, so a test that passes once passes always; the bounds are those of a
two-sided test at 1e-6, so that they say something about the generator and not about the choice of seeds."""

# ruff: noqa: ANN001 - parameters are what their decorators list

from __future__ import annotations

import math

import numpy as np
import pytest

from dropout_service.kernels import streams
from dropout_service.kernels.dropout import standard

SIZE = 1 << 20
Z = 4.9  # two-sided 1e-6


def correlation_z(one, two, rate):
    """z of the number of places where both are kept, if they are independent."""
    keep_prob = (1 - rate) ** 2
    return (np.count_nonzero(one & two) - one.size * keep_prob) / math.sqrt(one.size * keep_prob * (1 - keep_prob))


@pytest.mark.parametrize("rate", [1 / 65536, 0.001, 0.1, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("seed", [0, 1, 2**63])
def test_the_keep_frequency_is_binomial(rate, seed):
    keep_prob = 1 - standard.effective_rate(rate)
    kept = np.count_nonzero(standard.keep_mask(SIZE, rate, seed=seed))
    assert abs(kept - SIZE * keep_prob) < Z * math.sqrt(SIZE * keep_prob * (1 - keep_prob))


@pytest.mark.parametrize("lag", [1, 2, 3, 4, 7, 8, 16, 31, 32, 33, 63, 64, 65, 128, 256, 1024, 4096])
def test_positions_are_independent_at_a_lag(lag):
    mask = standard.keep_mask(SIZE, 0.5, seed=5)
    assert abs(correlation_z(mask[:-lag], mask[lag:], 0.5)) < Z


@pytest.mark.parametrize("difference", [1, 2, 1 << 31, 1 << 32, 1 << 63])
def test_seeds_and_offsets_are_independent(difference):
    mask = standard.keep_mask(SIZE, 0.5, seed=1000, offset=1000)
    other_seed = standard.keep_mask(SIZE, 0.5, seed=1000 + difference, offset=1000)
    other_offset = standard.keep_mask(SIZE, 0.5, seed=1000, offset=1000 + difference)
    assert abs(correlation_z(mask, other_seed, 0.5)) < Z
    assert abs(correlation_z(mask, other_offset, 0.5)) < Z
    assert abs(correlation_z(other_seed, other_offset, 0.5)) < Z


def test_runs_of_eight_elements_are_uniform():
    packed = standard.pack_mask(standard.keep_mask(SIZE, 0.5, seed=21))
    counts = np.bincount(packed, minlength=256)
    expected = packed.size / 256
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert abs(chi_square - 255) < Z * math.sqrt(2 * 255)


def test_every_place_of_a_group_is_dropped_as_often():
    rate = 0.3
    counts = standard.keep_mask((SIZE // 64, 64), rate, seed=22).sum(axis=0)
    keep_prob = 1 - standard.effective_rate(rate)
    variance = SIZE // 64 * keep_prob * (1 - keep_prob)
    chi_square = ((counts - SIZE // 64 * keep_prob) ** 2 / variance).sum()
    assert abs(chi_square - 64) < Z * math.sqrt(2 * 64)


def test_rows_are_as_independent_as_columns():
    mask = standard.keep_mask((1024, 1024), 0.5, seed=23)
    assert abs(correlation_z(mask[:-1].ravel(), mask[1:].ravel(), 0.5)) < Z
    assert abs(correlation_z(mask[:, :-1].ravel(), mask[:, 1:].ravel(), 0.5)) < Z


def test_no_mask_comes_twice():
    seen = {standard.pack_mask(standard.keep_mask(128, 0.5, seed=seed)).tobytes() for seed in range(2000)}
    seen |= {standard.pack_mask(standard.keep_mask(128, 0.5, seed=0, offset=one)).tobytes() for one in range(1, 2001)}
    assert len(seen) == 4000


def test_one_bit_of_seed_or_offset_changes_half_of_the_bits():
    """z of how often each of a block's 128 bits changes when one of the 128 bits of seed and offset does."""
    blocks = 1 << 9
    addresses = np.random.default_rng(1).integers(0, 1 << 64, (blocks, 2), dtype=np.uint64).tolist()

    def drawn(flipped: int = 0) -> np.ndarray:
        seed_bits, offset_bits = divmod(flipped, 1 << 64)
        return np.array(
            [streams.bits(2, seed=seed ^ seed_bits, offset=offset ^ offset_bits) for seed, offset in addresses]
        )

    before = drawn()
    changes = np.array([np.unpackbits((before ^ drawn(1 << i)).view(np.uint8), axis=1).sum(axis=0) for i in range(128)])
    z = (changes - blocks / 2) / math.sqrt(blocks / 4)
    assert abs(z).max() < 6.6  # 16384 figures at 1e-6 together
    assert abs((z**2).sum() - z.size) < Z * math.sqrt(2 * z.size)


def test_uniform_numbers_are_uniform():
    draws = streams.uniform(SIZE, seed=1, offset=2)
    counts = np.bincount((draws * 1024).astype(int), minlength=1024)
    expected = SIZE / 1024
    assert abs(((counts - expected) ** 2 / expected).sum() - 1023) < Z * math.sqrt(2 * 1023)


def test_normal_numbers_have_the_moments_of_the_normal_distribution():
    draws = streams.normal(SIZE, seed=1, offset=2)
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((draws**power).mean() - moment) < Z * math.sqrt(variance / SIZE)
