"""Masks that are broadcast: whatever the lengths of their rows, each element has its own flag."""

# ruff: noqa: ANN001 - parameters are what their decorators list

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from dropout_service.kernels.codegen.formats import FORMATS
from dropout_service.kernels.dropout import loops, passes, standard
from dropout_service.kernels.runtime.memory import address
from dropout_service.kernels.variants import VARIANTS

LENGTHS = [1, 2, 7, 25, 49, 63, 64, 65, 127, 128, 129, 300]


@pytest.fixture
def rng():
    return np.random.default_rng(3)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize(
    "dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64], ids=lambda one: one.__name__
)
@pytest.mark.parametrize("shared", ["length", "rows", "middle", "none"])
def test_every_element_has_its_own_flag(rng, length, dtype, shared):
    shape = (3, 5, length)
    noise_shape = {"length": (3, 5, 1), "rows": (1, 1, length), "middle": (3, 1, length), "none": shape}[shared]
    mask = rng.random(noise_shape) < 0.5
    x = rng.normal(size=shape).astype(dtype)
    y = standard.forward(x, 0.5, seed=0, mask=mask)
    expected = np.where(np.broadcast_to(mask, shape), x * dtype(2), dtype(0))
    assert y.tobytes() == expected.tobytes()


@pytest.mark.parametrize("channels", [1, 60, 512, 513, 4000])
@pytest.mark.parametrize("length", [1, 2, 9, 70])
def test_a_mask_drawn_on_the_way_is_the_mask_that_is_drawn_alone(rng, channels, length):
    x = rng.normal(size=(1, channels, length)).astype(np.float32)
    variant = VARIANTS["feature1d"]
    mask = variant.mask(x.shape, 0.3, seed=8, offset=5)
    given = variant.forward(x, 0.3, seed=8, offset=5, mask=mask)
    for threads in (1, 2):
        drawn = variant.forward(x, 0.3, seed=8, offset=5, threads=threads)
        assert drawn.tobytes() == given.tobytes()
    assert not np.any(given[~np.broadcast_to(mask, x.shape)])


@pytest.mark.parametrize("start", [0, 64, 128, 64 * 7])
def test_a_range_may_begin_within_a_row(rng, start):
    # What `parallel.run` hands out: ranges that begin at a multiple of 64, wherever that is in a row.
    x = rng.normal(size=(4, 11, 13)).astype(np.float32)
    mask = rng.random((4, 1, 13)) < 0.5
    y = np.zeros_like(x)
    axes = passes._axes(x.shape, mask.shape)
    packed = loops.DROP_BY_MASK.pack(
        FORMATS["float32"], x.itemsize, address(x), address(y), 2.0, *axes.places, address(mask)
    )
    arguments = np.frombuffer(packed, np.uint8)
    loops.drop_by_mask(address(arguments), start, x.size)
    expected = np.where(mask, 2 * x, 0).reshape(-1)
    np.testing.assert_array_equal(y.reshape(-1)[start:], expected[start:])
    assert not y.reshape(-1)[:start].any()


@pytest.mark.parametrize("noise_shape", [(3, 1, 7), (1, 5, 1), (1, 1, 7), (3, 5, 1), (5, 1), (7,), (1,), ()], ids=str)
def test_alpha_takes_a_mask_of_any_shape_that_can_be_broadcast(rng, noise_shape):
    x = rng.normal(size=(3, 5, 7))
    mask = rng.random(noise_shape) < 0.5
    variant = VARIANTS["alpha"]
    whole = np.ascontiguousarray(np.broadcast_to(mask, x.shape))
    given = variant.forward(x, 0.5, seed=0, mask=mask)
    assert given.tobytes() == variant.forward(x, 0.5, seed=0, mask=whole).tobytes()
    assert np.array_equal(given == given[~whole].min(initial=np.inf), ~whole)


@pytest.mark.parametrize("name", ["standard", "gaussian", "alpha"])
def test_at_rate_zero_not_a_bit_is_changed(name):
    x = np.array([0x7F800001, 0xFF800001, 0x80000000, 1], np.uint32).view(np.float32)  # a product would quiet the NaNs
    assert VARIANTS[name].forward(x, 0, seed=1).tobytes() == x.tobytes()
