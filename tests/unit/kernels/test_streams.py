# ruff: noqa: ANN001 - parameters are what their decorators list

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
import reference_stream as reference
from hypothesis import given, settings
from hypothesis import strategies as st

from dropout_service.errors import InvalidInputError
from dropout_service.kernels import streams
from dropout_service.kernels.streams import Purpose, stream

PINNED = ["0x1.b39c92c6e7675p-3", "0x1.aec27d8b796c3p-1", "-0x1.b5b29d6b82c9dp-4", "0x1.58ca96d74c855p-1"]


def test_offsets_differ_by_purpose_layer_and_step():
    offsets = {
        stream(purpose, layer=layer, step=step)
        for purpose in Purpose
        for layer in (0, 1, 65535)
        for step in (0, 1, (1 << 40) - 1)
    }
    assert len(offsets) == len(Purpose) * 9
    assert all(0 < offset < 1 << 64 for offset in offsets)


@pytest.mark.parametrize("place", [{"layer": 65536}, {"layer": -1}, {"step": 1 << 40}, {"step": -1}])
def test_a_place_that_does_not_fit_is_rejected(place):
    with pytest.raises(InvalidInputError, match="below"):
        stream(Purpose.INIT, **place)


def test_bits_are_the_lanes_of_the_reference():
    expected = [lane for group in range(3) for lane in reference.lanes(group, seed=5, offset=9)]
    assert streams.bits(40, seed=5, offset=9).tolist() == expected[:40]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 100), st.integers(0, 100), st.integers(0, 2**64 - 1))
def test_a_shorter_draw_is_a_prefix_of_a_longer_one(one, two, seed):
    short, long = sorted((one, two))
    for draw in (streams.uniform, streams.normal):
        np.testing.assert_array_equal(draw(short, seed=seed, offset=1), draw(long, seed=seed, offset=1)[:short])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_uniform_numbers_take_the_top_bits_and_stay_below_one(dtype):
    draws = streams.uniform((50, 20), seed=3, offset=4, dtype=dtype)
    assert draws.dtype == dtype
    assert draws.shape == (50, 20)
    digits = 24 if dtype is np.float32 else 53
    expected = [bits >> (64 - digits) for bits in streams.bits(1000, seed=3, offset=4).tolist()]
    np.testing.assert_array_equal(draws.ravel().astype(np.float64) * 2.0**digits, expected)
    assert draws.max() < 1


def test_normal_numbers_are_the_inverse_distribution_function_of_the_draws():
    draws = streams.normal((40, 50), seed=3, offset=4)
    probability = ((streams.bits(2000, seed=3, offset=4) >> np.uint64(12)).astype(float) + 0.5) * 2.0**-52
    exact = NormalDist()
    np.testing.assert_allclose(draws.ravel(), [exact.inv_cdf(one) for one in probability.tolist()], rtol=1e-14)
    single = streams.normal((40, 50), seed=3, offset=4, dtype=np.float32)
    np.testing.assert_array_equal(single, draws.astype(np.float32))


@pytest.mark.parametrize("probability", [2.0**-53, 1e-12, 1e-5, 0.074, 0.076, 0.5, 0.926, 1 - 2.0**-53])
def test_the_tails_of_the_normal_distribution(probability):
    value = streams._inverse_normal(np.array([probability]))[0]
    assert value == pytest.approx(NormalDist().inv_cdf(probability), rel=1e-14, abs=1e-16)


def test_normal_numbers_are_pinned():
    # To the last bit: a model's initial weights are part of its reproducibility.
    assert [one.hex() for one in streams.normal(4, seed=7, offset=3).tolist()] == PINNED


@pytest.mark.parametrize("n", [0, 1, 2, 1000])
def test_a_permutation_has_every_number_once(n):
    order = streams.permutation(n, seed=1, offset=stream(Purpose.SHUFFLE, step=2))
    assert order.dtype == np.int64
    np.testing.assert_array_equal(np.sort(order), np.arange(n))
    assert n < 3 or not np.array_equal(order, streams.permutation(n, seed=1, offset=stream(Purpose.SHUFFLE, step=3)))


def test_permutations_of_three_come_equally_often():
    counts: dict[tuple[int, ...], int] = {}
    for seed in range(6000):
        order = tuple(streams.permutation(3, seed=seed, offset=0).tolist())
        counts[order] = counts.get(order, 0) + 1
    assert len(counts) == 6
    assert sum((count - 1000) ** 2 / 1000 for count in counts.values()) < 35.9  # chi-square, 5 degrees, 1e-6
