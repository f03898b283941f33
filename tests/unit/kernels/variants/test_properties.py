"""What holds for every variant, whatever the numbers: a new one is tested by being listed."""

# ruff: noqa: ANN001, ANN003, ANN202, PLR0917 - parameters are what their decorators list

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_variants import example
from same_bits import assert_same_bits, raw

from dropout_service.kernels.variants import VARIANTS

RATES = st.floats(0.01, 0.99)
WORDS = st.integers(0, 2**64 - 1)
SCALES = st.floats(-4, 4)
DTYPES = [np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16), np.dtype(np.float32), np.dtype(np.float64)]
MASKED = [name for name, variant in VARIANTS.items() if variant.masked]
ELEMENTWISE = [name for name, variant in VARIANTS.items() if variant.constraints.startswith("any shape")]


def random(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def backward(variant, grad_output, rate, **more):
    """grad_input, whether or not the variant needs x."""
    x = np.ones(grad_output.shape, grad_output.dtype) if variant.needs_x else None
    return variant.backward(grad_output, rate, x=x, **more).grad_input


@st.composite
def arrays(draw, name):
    """A shape that suits the variant, and its parameters."""
    shape, parameters = example(name)
    if name in ELEMENTWISE:
        return tuple(draw(st.lists(st.integers(0, 7), max_size=4))), parameters
    if name == "locked":
        shape = tuple(draw(st.lists(st.integers(0, 7), min_size=1, max_size=4)))
        return shape, {"axis": draw(st.integers(-len(shape), len(shape) - 1))}
    sizes = tuple(draw(st.integers(1, 7)) for _ in shape)
    if name == "dropblock":
        return sizes, {"block_size": draw(st.integers(1, min(sizes[2:])))}
    return sizes, parameters


@pytest.mark.parametrize("name", VARIANTS)
@settings(deadline=None, max_examples=30)
@given(data=st.data(), rate=RATES, seed=WORDS, offset=WORDS, a=SCALES, b=SCALES)
def test_forward_is_affine_given_the_noise(name, data, rate, seed, offset, a, b):
    variant = VARIANTS[name]
    shape, parameters = data.draw(arrays(name))
    one, two = random(shape), random(shape, seed=1)

    def forward(x):
        return variant.forward(np.asarray(x, np.float64), rate, seed=seed, offset=offset, **parameters)

    origin = forward(np.zeros(shape))
    combined = forward(a * one + b * two) - origin
    expected = a * (forward(one) - origin) + b * (forward(two) - origin)
    magnitude = np.abs(forward(np.full(shape, 64.0))).max(initial=1)
    np.testing.assert_allclose(combined, expected, rtol=0, atol=1e-13 * magnitude)


@pytest.mark.parametrize("name", VARIANTS)
@settings(deadline=None, max_examples=30)
@given(data=st.data(), rate=RATES, seed=WORDS, offset=WORDS)
def test_backward_is_the_adjoint_of_forward(name, data, rate, seed, offset):
    variant = VARIANTS[name]
    shape, parameters = data.draw(arrays(name))
    x, grad_output = random(shape), random(shape, seed=1)
    where = {"seed": seed, "offset": offset, **parameters}
    origin = variant.forward(np.zeros(shape), rate, **where)
    products = (variant.forward(x, rate, **where) - origin) * grad_output
    adjoint = x * backward(variant, grad_output, rate, **where)
    bound = 1e-13 * (np.abs(products).sum() + np.abs(origin * grad_output).sum() + 1)
    assert abs(products.sum() - adjoint.sum()) <= bound


@pytest.mark.parametrize("name", VARIANTS)
@settings(deadline=None, max_examples=20)
@given(data=st.data(), rate=RATES, seed=WORDS, samples=st.integers(0, 7))
def test_the_first_samples_of_a_batch_do_not_depend_on_the_rest(name, data, rate, seed, samples):
    variant = VARIANTS[name]
    shape, parameters = data.draw(arrays(name).filter(lambda drawn: bool(drawn[0])))
    if name == "locked" and parameters["axis"] % len(shape) == 0 and min(samples, shape[0]) == 0:
        samples = shape[0]  # an axis of size 0 draws nothing to share
    part = (min(samples, shape[0]), *shape[1:])
    if name == "dropblock":  # its scale is one of the whole mask
        whole = variant.mask(shape, rate, seed=seed, **parameters)
        np.testing.assert_array_equal(variant.mask(part, rate, seed=seed, **parameters), whole[: part[0]])
        return
    x = random(shape)
    y = variant.forward(x, rate, seed=seed, **parameters)
    assert_same_bits(variant.forward(x[: part[0]], rate, seed=seed, **parameters), y[: part[0]])


@pytest.mark.parametrize("name", ELEMENTWISE)
@settings(deadline=None, max_examples=20)
@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=4), rate=RATES, seed=WORDS)
def test_elements_are_numbered_in_c_order_whatever_the_shape(name, sizes, rate, seed):
    variant = VARIANTS[name]
    x = random(math.prod(sizes))
    y = variant.forward(x, rate, seed=seed)
    assert_same_bits(variant.forward(x.reshape(sizes), rate, seed=seed).reshape(-1), y)
    assert_same_bits(variant.forward(x[:-1], rate, seed=seed), y[:-1])


LARGE = {
    "feature1d": ((64, 32, 131), {}),
    "feature3d": ((16, 32, 8, 8, 9), {}),
    "dropblock": ((64, 64, 11, 13), {"block_size": 3}),
}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", VARIANTS)
def test_the_number_of_threads_changes_nothing(name, dtype):
    variant = VARIANTS[name]
    shape, parameters = LARGE.get(name, ((61, 43, 10, 11), {}))
    x = random(shape).astype(dtype)
    y = variant.forward(x, 0.3, seed=1, threads=1, **parameters)
    gradient = backward(variant, x, 0.3, seed=1, threads=1, **parameters)
    for threads in (2, 5):
        assert_same_bits(variant.forward(x, 0.3, seed=1, threads=threads, **parameters), y)
        assert_same_bits(backward(variant, x, 0.3, seed=1, threads=threads, **parameters), gradient)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", VARIANTS)
def test_the_layout_changes_nothing(name, dtype):
    variant, (shape, parameters) = VARIANTS[name], example(name)
    x = random(shape).astype(dtype)
    y = variant.forward(x, 0.3, seed=1, **parameters)
    gradient = backward(variant, x, 0.3, seed=1, **parameters)
    frozen = x.copy()
    frozen.flags.writeable = False
    unaligned = np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(x.dtype).reshape(shape)
    doubled = np.repeat(x, 2, axis=-1)[..., ::2]
    for same in (np.asfortranarray(x), frozen, unaligned, doubled, x[::-1].copy()[::-1]):
        assert_same_bits(variant.forward(same, 0.3, seed=1, **parameters), y)
        assert_same_bits(backward(variant, same, 0.3, seed=1, **parameters), gradient)
    strided = np.zeros((*shape, 2), dtype)[..., 0]
    misplaced = np.zeros(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(shape)
    for out in (np.empty_like(x), np.empty_like(x, order="F"), strided, misplaced, x.copy()):
        assert variant.forward(x, 0.3, seed=1, out=out, **parameters) is out
        assert_same_bits(out, y)
    own = x.copy()
    assert_same_bits(variant.forward(own, 0.3, seed=1, out=own, **parameters), y)
    own = x.copy()
    assert_same_bits(variant.backward(own, 0.3, seed=1, x=np.ones_like(x), out=own, **parameters).grad_input, gradient)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_memory_that_overlaps_is_read_before_it_is_written(name):
    whole = random(1001)
    y = VARIANTS[name].forward(whole[:1000], 0.3, seed=1)
    VARIANTS[name].forward(whole[:1000], 0.3, seed=1, out=whole[1:])
    assert_same_bits(whole[1:], y)


@pytest.mark.parametrize("name", ELEMENTWISE)
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2)])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_arrays_without_axes_or_elements(name, shape, dtype):
    y = VARIANTS[name].forward(np.ones(shape, dtype), 0.3, seed=2)
    gradient = backward(VARIANTS[name], np.ones(shape, dtype), 0.3, seed=2)
    assert y.shape == gradient.shape == shape
    assert y.dtype == gradient.dtype == dtype
    if shape == ():
        assert y == VARIANTS[name].forward(np.ones(1, dtype), 0.3, seed=2)[0]


@pytest.mark.parametrize("name", VARIANTS)
def test_an_axis_of_size_0(name):
    variant, (shape, parameters) = VARIANTS[name], example(name)
    for axis in range(len(shape)):
        empty = tuple(0 if i == axis else size for i, size in enumerate(shape))
        assert variant.forward(np.ones(empty), 0.3, seed=1, **parameters).shape == empty
        assert backward(variant, np.ones(empty), 0.3, seed=1, **parameters).shape == empty
        if variant.masked:
            assert np.broadcast_to(variant.mask(empty, 0.3, seed=1, **parameters), empty).shape == empty


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", MASKED)
def test_what_is_dropped_never_leaks(name, dtype):
    variant, (shape, parameters) = VARIANTS[name], example(name)
    mask = np.broadcast_to(variant.mask(shape, 0.5, seed=15, **parameters), shape)
    assert 0 < mask.mean() < 1
    x = random(shape).astype(dtype)
    y = variant.forward(x, 0.5, seed=15, **parameters)
    gradient = backward(variant, x, 0.5, seed=15, **parameters)
    bad = np.resize(np.array([np.nan, np.inf, -np.inf, -1], dtype), shape)
    spoilt = np.where(mask, x, bad)
    assert_same_bits(variant.forward(spoilt, 0.5, seed=15, **parameters), y)
    assert_same_bits(backward(variant, spoilt, 0.5, seed=15, **parameters), gradient)
    assert not raw(gradient)[~mask.reshape(-1)].any()
    dropped = y.astype(np.float64)[~mask]
    if "alpha" in name:
        assert (dropped == dropped[0]).all()
        assert dropped[0] < -0.5
    else:
        assert not raw(y)[~mask.reshape(-1)].any()


@pytest.mark.parametrize("name", MASKED)
@pytest.mark.parametrize("rate", [0.2, 0.5])
def test_the_mask_that_the_seed_draws_gives_the_same_as_the_seed(name, rate):
    variant, (shape, parameters) = VARIANTS[name], example(name)
    x = random(shape)
    mask = variant.mask(shape, rate, seed=5, offset=6, **parameters)
    y = variant.forward(x, rate, seed=5, offset=6, **parameters)
    assert_same_bits(variant.forward(x, rate, seed=0, mask=mask, **parameters), y)
    gradient = variant.backward(x, rate, seed=5, offset=6, **parameters).grad_input
    assert_same_bits(variant.backward(x, rate, mask=mask, **parameters).grad_input, gradient)


@pytest.mark.parametrize("name", [name for name in MASKED if name not in {"feature1d", "feature3d"}])
@pytest.mark.parametrize("mask_shape", [(), (1,), (5,), (4, 1), (3, 1, 1), (2, 3, 1, 1), (2, 1, 4, 1), (1, 3, 1, 5)])
def test_a_mask_made_elsewhere_is_broadcast(name, mask_shape):
    variant, parameters = VARIANTS[name], example(name)[1]
    x = random((2, 3, 4, 5))
    mask = np.random.default_rng(3).random(mask_shape) < 0.6
    full = np.array(np.broadcast_to(mask, x.shape))
    one, other = (variant.forward(x, 0.25, seed=0, mask=given, **parameters) for given in (mask, full))
    assert_same_bits(one, other)
    x[~full] = np.nan
    assert_same_bits(variant.forward(x, 0.25, seed=0, mask=mask, **parameters), one)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", VARIANTS)
def test_evaluation_and_rate_0_are_the_identity_and_rate_1_all_zeros(name, dtype):
    variant, (shape, parameters) = VARIANTS[name], example(name)
    x = random(shape).astype(dtype)
    x.reshape(-1)[:4] = [np.nan, np.inf, -np.inf, -0.0]
    for run in (variant.forward, lambda *given, **more: backward(variant, *given, **more)):
        assert_same_bits(run(x, 0.3, seed=1, training=False, **parameters), x)
        if not variant.rate.exclusive_minimum:
            assert_same_bits(run(x, 0, seed=1, **parameters), x)
        if not variant.rate.exclusive_maximum:
            assert not raw(run(x, 1, seed=1, **parameters)).any()
            assert_same_bits(run(x, 1, seed=1, training=False, **parameters), x)


@pytest.mark.parametrize("name", VARIANTS)
def test_narrow_formats_are_float32_rounded_once(name):
    variant, (shape, parameters) = VARIANTS[name], example(name)
    for dtype in DTYPES[:2]:
        x = random(shape).astype(dtype)
        y = variant.forward(x, 0.3, seed=1, **parameters)
        assert_same_bits(y, variant.forward(x.astype(np.float32), 0.3, seed=1, **parameters).astype(dtype))


@pytest.mark.parametrize("name", VARIANTS)
def test_float32_and_float64_have_the_same_noise(name):
    variant, (shape, parameters) = VARIANTS[name], example(name)
    x = random(shape).astype(np.float32)
    y = variant.forward(x, 0.3, seed=1, **parameters)
    wide = variant.forward(x.astype(np.float64), 0.3, seed=1, **parameters)
    np.testing.assert_allclose(y, wide, rtol=4e-7, atol=4e-7)


@pytest.mark.parametrize("name", VARIANTS)
def test_seeds_and_offsets_give_other_noise(name):
    variant, (shape, parameters) = VARIANTS[name], LARGE.get(name, ((61, 43, 10, 11), {}))
    x = np.ones(shape)
    drawn = [
        variant.forward(x, 0.3, seed=seed, offset=offset, **parameters).tobytes()
        for seed, offset in ((1, 0), (2, 0), (1, 1), (1, 2**32), (2**32 + 1, 0), (2**63 + 1, 2**63))
    ]
    assert len(set(drawn)) == len(drawn)
