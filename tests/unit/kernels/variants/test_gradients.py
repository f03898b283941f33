"""Each variant's forward against plain references and PyTorch, and its backward against finite differences."""

# ruff: noqa: ANN001, ANN202 - parameters are what their decorators list

from __future__ import annotations

import numpy as np
import pytest
import reference_stream
import reference_variants as reference
from reference_variants import example

from dropout_service.kernels.dropout import noise_loops, standard
from dropout_service.kernels.variants import VARIANTS

ALPHA_PRIME = -1.7580993408473766
STREAMED = [name for name in VARIANTS if name not in {"gaussian", "dropblock", "concrete"}]


def random(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def alpha(x, mask, rate):
    a = ((1 - rate) * (1 + rate * ALPHA_PRIME**2)) ** -0.5
    return a * np.where(mask, x, ALPHA_PRIME) - a * rate * ALPHA_PRIME


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
@pytest.mark.parametrize(
    ("name", "scaling"), [(name, scaling) for name, variant in VARIANTS.items() for scaling in variant.scalings]
)
def test_backward_is_what_finite_differences_measure(name, rate, scaling, training):
    variant, (shape, parameters) = VARIANTS[name], example(name)
    x, grad_output = random(shape), random(shape, seed=1)
    settings = {"seed": 7, "offset": 3, "scaling": scaling, "training": training, **parameters}
    gradients = variant.backward(grad_output, rate, x=x if variant.needs_x else None, **settings)
    step = 0.5  # y is affine in x, so a wide step has no error but that of rounding
    measured = np.empty(x.size)
    for i in range(x.size):
        change = np.zeros(x.size)
        change[i] = step
        high = variant.forward(x + change.reshape(shape), rate, **settings)
        low = variant.forward(x - change.reshape(shape), rate, **settings)
        measured[i] = ((high - low) * grad_output).sum() / (2 * step)
    np.testing.assert_allclose(gradients.grad_input.reshape(-1), measured, rtol=1e-10, atol=1e-12)
    assert (gradients.grad_rate is not None) == variant.needs_x


@pytest.mark.parametrize("temperature", [0.05, 0.1, 0.67, 3.0])
@pytest.mark.parametrize("rate", [0.02, 0.3, 0.5, 0.95])
def test_the_gradient_of_the_rate_is_what_finite_differences_measure(rate, temperature):
    concrete = VARIANTS["concrete"]
    x, grad_output = random((40, 7)), random((40, 7), seed=1)
    settings = {"seed": 5, "temperature": temperature}
    grad_rate = concrete.backward(grad_output, rate, x=x, **settings).grad_rate

    def loss(rate):
        return (concrete.forward(x, rate, **settings) * grad_output).sum()

    # Richardson's extrapolation of two central differences
    wide, narrow = ((loss(rate + step) - loss(rate - step)) / (2 * step) for step in (2e-5, 1e-5))
    assert grad_rate == pytest.approx((4 * narrow - wide) / 3, rel=1e-7, abs=1e-7)


def test_in_evaluation_the_rate_has_no_gradient():
    gradients = VARIANTS["concrete"].backward(np.ones(3), 0.5, seed=1, x=np.ones(3), training=False)
    assert gradients.grad_rate == 0


def test_what_an_earlier_pass_left_adds_nothing_to_the_gradient_of_the_rate():
    concrete, large = VARIANTS["concrete"], np.full(31, 1e100)
    for dtype in (np.float64, np.float32):
        x = np.zeros(32, dtype)
        x[0] = 2
        whole = concrete.backward(x, 0.3, seed=1, x=x).grad_rate
        concrete.backward(large, 0.3, seed=1, x=large)
        assert concrete.backward(x[:1], 0.3, seed=1, x=x[:1]).grad_rate == whole != 0


def test_the_gradient_of_the_rate_does_not_depend_on_threads_layout_or_where_it_is_written():
    x, grad_output = random((130, 1001)), random((130, 1001), seed=1)
    concrete = VARIANTS["concrete"]
    one = concrete.backward(grad_output, 0.3, seed=1, x=x, threads=1)
    for gradients in (
        concrete.backward(grad_output, 0.3, seed=1, x=x, threads=4),
        concrete.backward(np.asfortranarray(grad_output), 0.3, seed=1, x=x[::-1][::-1].T.copy().T),
        concrete.backward(grad_output.copy(), 0.3, seed=1, x=(given := x.copy()), out=given),
    ):
        assert gradients.grad_rate == one.grad_rate
        np.testing.assert_array_equal(gradients.grad_input, one.grad_input)


# ---- plain references


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("name", STREAMED)
def test_masks_of_the_stream_are_drawn_on_the_noise_shape(name, rate):
    variant, (shape, parameters) = VARIANTS[name], example(name)
    x = random(shape)
    drawn = reference.noise_shape(name, shape, parameters)
    mask = reference_stream.keep(drawn, rate, seed=3, offset=2)
    np.testing.assert_array_equal(variant.mask(shape, rate, seed=3, offset=2, **parameters), mask)
    effective = round(rate * 65536) / 65536
    expected = alpha(x, mask, effective) if "alpha" in name else reference_stream.dropout(x, mask, rate)
    y = variant.forward(x, rate, seed=3, offset=2, **parameters)
    np.testing.assert_allclose(y, expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("size", [1, 16, 31, 32, 33, 1000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gaussian_noise_is_box_and_muller(size, dtype):
    x = random(size).astype(dtype)
    noise = 1 + np.sqrt(0.3 / 0.7) * reference.gaussian_noise(size, seed=2**40 + 1, offset=9)
    y = VARIANTS["gaussian"].forward(x, 0.3, seed=2**40 + 1, offset=9)
    assert y.dtype == dtype
    # Noise is float32: a few units in its last place, of numbers up to 7
    np.testing.assert_allclose(y, x * noise, rtol=0, atol=3e-6 * np.abs(x).max())


@pytest.mark.parametrize(
    ("shape", "block_size"), [((2, 3, 5, 6), 2), ((1, 2, 9, 9), 7), ((2, 2, 4, 4), 1), ((1, 1, 3, 3), 3)]
)
@pytest.mark.parametrize("rate", [0.1, 0.4, 1])
def test_dropblock_drops_squares(shape, block_size, rate):
    mask = reference.dropblock_mask(shape, rate, block_size, seed=4, offset=1)
    variant = VARIANTS["dropblock"]
    np.testing.assert_array_equal(variant.mask(shape, rate, seed=4, offset=1, block_size=block_size), mask)
    x = random(shape)
    kept = mask.sum()
    expected = np.where(mask, x * (mask.size / kept if kept else 0), 0)
    y = variant.forward(x, rate, seed=4, offset=1, block_size=block_size)
    np.testing.assert_allclose(y, expected, rtol=1e-14)


def test_dropblock_of_a_sequence_drops_runs():
    variant = VARIANTS["dropblock"]
    mask = variant.mask((3, 4, 50), 0.3, seed=4, block_size=5)
    gamma = 0.3 / 5 * 50 / 46
    seeds = np.array(reference.words(3 * 4 * 46, seed=4)).reshape(3, 4, 46) < round(gamma * 2**32)
    expected = np.ones((3, 4, 50), np.bool_)
    for sample, channel, place in np.argwhere(seeds):
        expected[sample, channel, place : place + 5] = False
    assert not expected.all()
    np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize("temperature", [0.1, 0.67, 5.0])
@pytest.mark.parametrize("rate", [1e-6, 0.2, 0.5, 0.999])
def test_concrete_is_a_sigmoid_of_logits(rate, temperature):
    x, grad_output = random((5, 67)), random((5, 67), seed=1)
    expected, slope = reference.concrete(x, rate, temperature, seed=8, offset=4)
    settings = {"seed": 8, "offset": 4, "temperature": temperature}
    y = VARIANTS["concrete"].forward(x, rate, **settings)
    np.testing.assert_allclose(y, expected, rtol=1e-11, atol=1e-300)
    grad_rate = VARIANTS["concrete"].backward(grad_output, rate, x=x, **settings).grad_rate
    assert grad_rate == pytest.approx((grad_output * slope).sum(), rel=1e-9)


def test_concrete_goes_on_alike_beyond_what_is_summed_at_once():
    shape = (3, noise_loops.SUM_ELEMENTS - 5)
    x, grad_output = random(shape), random(shape, seed=1)
    expected, slope = reference.concrete(x, 0.3, 0.67, seed=8, offset=4)
    gradients = VARIANTS["concrete"].backward(grad_output, 0.3, x=x, seed=8, offset=4, temperature=0.67)
    np.testing.assert_allclose(gradients.grad_input, grad_output * (expected / x), rtol=1e-11)
    assert gradients.grad_rate == pytest.approx((grad_output * slope).sum(), rel=1e-9)


@pytest.mark.parametrize("rate", [5e-324, 1e-200, 1 - 2**-53])
@pytest.mark.parametrize("temperature", [1e-300, 1e-3, 1e300])
def test_concrete_is_finite_at_the_ends_of_its_range(rate, temperature):
    y = VARIANTS["concrete"].forward(np.ones(100), rate, seed=1, temperature=temperature)
    assert np.isfinite(y).all()
    assert (y >= 0).all()
    x = np.ones(100)
    gradients = VARIANTS["concrete"].backward(x, rate, seed=1, x=x, temperature=temperature)
    np.testing.assert_array_equal(gradients.grad_input, y)


# ---- PyTorch, given its own mask

TORCH = {
    "standard": ("dropout", (4, 5, 6)),
    "feature1d": ("dropout1d", (6, 5, 7)),
    "feature2d": ("dropout2d", (6, 5, 3, 4)),
    "feature3d": ("dropout3d", (6, 5, 2, 3, 4)),
    "alpha": ("alpha_dropout", (4, 5, 6)),
    "feature_alpha": ("feature_alpha_dropout", (6, 5, 3, 4)),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rate", [0.25, 0.5, 0.875])
@pytest.mark.parametrize("name", TORCH)
def test_pytorch_agrees_given_its_mask(name, rate, dtype):
    torch = pytest.importorskip("torch")
    function, shape = TORCH[name]
    torch.manual_seed(0)
    x = torch.rand(shape, dtype=getattr(torch, np.dtype(dtype).name)) + 1  # above 0, so that what is dropped shows
    x.requires_grad_()
    grad_output = torch.randn_like(x)
    y = getattr(torch.nn.functional, function)(x, rate, training=True)
    y.backward(grad_output)
    assert x.grad is not None
    mask = (x.grad != 0).numpy()
    shared = mask[(slice(None), slice(None), *(slice(1),) * (len(shape) - 2))] if "feature" in name else mask
    np.testing.assert_array_equal(np.broadcast_to(shared, shape), mask)
    assert 0 < mask.mean() < 1
    variant = VARIANTS[name]
    ours = variant.forward(x.detach().numpy(), rate, seed=0, mask=shared)
    tolerance = 8 * np.finfo(dtype).eps
    np.testing.assert_allclose(ours, y.detach().numpy(), rtol=tolerance, atol=tolerance)
    ours = variant.backward(grad_output.numpy(), rate, mask=shared).grad_input
    np.testing.assert_allclose(ours, x.grad.numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", TORCH)
def test_pytorch_agrees_at_rates_0_and_1(name):
    torch = pytest.importorskip("torch")
    function, shape = TORCH[name]
    x = random(shape)
    for rate in (0, 1):
        theirs = getattr(torch.nn.functional, function)(torch.from_numpy(x), rate, training=True)
        np.testing.assert_array_equal(VARIANTS[name].forward(x, rate, seed=1), theirs.numpy())


# ---- pinned noise: a change of any of these is a new version of a stream


@pytest.mark.parametrize("name", STREAMED)
def test_the_mask_is_pinned(name):
    shape, parameters = {
        "feature1d": ((8, 8, 3), {}),
        "feature2d": ((8, 8, 2, 2), {}),
        "feature3d": ((8, 8, 1, 2, 1), {}),
        "feature_alpha": ((8, 8, 2), {}),
        "locked": ((8, 3, 8), {"axis": 1}),
        "batchwise": ((3, 8, 8), {}),
        "drop_path": ((64, 2), {}),
    }.get(name, ((8, 8), {}))
    mask = VARIANTS[name].mask(shape, 0.3, seed=7, offset=3, **parameters)
    # The worked example of docs/mask-stream.md
    assert standard.pack_mask(mask).tobytes().hex() == "dedffdfbfebf41ce"


def test_dropblock_seeds_a_block_where_a_draw_is_below_the_threshold_and_nowhere_else():
    # Blocks of one element: then the threshold is round(rate * 2^32), and may be set on either side of a draw.
    least = min(reference.words(64, seed=7, offset=3))
    for threshold, seeds in ((0.4, 0), (least, 0), (least + 1, 1)):
        mask = VARIANTS["dropblock"].mask((1, 1, 8, 8), threshold / 2**32, seed=7, offset=3, block_size=1)
        assert np.count_nonzero(~mask) == seeds


def test_the_mask_of_dropblock_is_pinned():
    mask = VARIANTS["dropblock"].mask((1, 1, 8, 8), 0.3, seed=7, offset=3, block_size=2)
    assert standard.pack_mask(mask).tobytes().hex() == "f3f3fffffff3f3ff"


def test_gaussian_noise_is_pinned_to_the_bit():
    y = VARIANTS["gaussian"].forward(np.ones(34, np.float32), 0.5, seed=7, offset=3)
    pinned = {
        0: "0x1.f0d5300000000p+0",
        1: "0x1.56a0d40000000p-2",
        15: "0x1.61ed400000000p-5",
        16: "0x1.fe6a340000000p+0",
        31: "0x1.4133480000000p+0",
        32: "0x1.2c0d640000000p+1",
        33: "0x1.2e75000000000p-5",
    }
    assert {i: float(y[i]).hex() for i in pinned} == pinned


def test_concrete_noise_is_pinned_to_the_bit():
    y = VARIANTS["concrete"].forward(np.ones(34), 0.5, seed=7, offset=3)
    pinned = {
        0: "0x1.f9b5032952ba6p+0",
        1: "0x1.0841472943cfep-4",
        31: "0x1.97d300375b322p-23",
        32: "0x1.fff71ea1bdc4fp+0",
        33: "0x1.712bbb4ac68fap-7",
    }
    assert {i: float(y[i]).hex() for i in pinned} == pinned
