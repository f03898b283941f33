"""The rows of the semantics table: what forward and backward do to each kind of input."""

# ruff: noqa: ANN001, ANN202 - parameters are what their decorators list

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
import reference_stream as reference
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from same_bits import assert_same_bits, raw

from dropout_service.errors import InvalidInputError
from dropout_service.kernels.dropout import passes, standard

DTYPES = [np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16), np.dtype(np.float32), np.dtype(np.float64)]
WIDE = [np.dtype(np.float32), np.dtype(np.float64)]
PASSES = [standard.forward, standard.backward]


def ramp(shape, dtype=np.float32):
    size = int(np.prod(shape, dtype=np.int64))
    return (np.arange(1, size + 1) / 8 * np.where(np.arange(size) % 2, 1, -1)).reshape(shape).astype(dtype)


# ---- rates, scales


@pytest.mark.parametrize(
    ("rate", "threshold"),
    [(0, 0), (1, 65536), (0.5, 32768), (0.3, 19661), (1e-9, 0), (1 - 1e-9, 65536), (2.5 / 65536, 2), (3.5 / 65536, 4)],
)
def test_the_threshold_is_the_rate_rounded_to_even(rate, threshold):
    assert standard.threshold(rate) == threshold
    assert standard.effective_rate(rate) == threshold / 65536


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.3, 0.5, 0.9, 0.99999])
def test_the_scale_is_the_inverse_of_the_probability_in_force(rate):
    keep_prob = 1 - standard.effective_rate(rate)
    assert standard.scale(rate, "inverted", training=True) == 1 / keep_prob
    assert standard.scale(rate, "inverted", training=False) == 1
    assert standard.scale(rate, "classic", training=True) == 1
    assert standard.scale(rate, "classic", training=False) == keep_prob


@pytest.mark.parametrize("dtype", WIDE, ids=str)
@pytest.mark.parametrize("apply", PASSES)
def test_inverted_training_scales_what_is_kept(apply, dtype):
    x = ramp((3, 50), dtype)
    mask = reference.keep((3, 50), 0.3, seed=11, offset=5)
    assert_same_bits(apply(x, 0.3, seed=11, offset=5), reference.dropout(x, mask, 0.3))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("apply", PASSES)
def test_classic_training_copies_what_is_kept(apply, dtype):
    x = ramp((3, 50), dtype)
    mask = reference.keep((3, 50), 0.3, seed=11)
    assert_same_bits(apply(x, 0.3, seed=11, scaling="classic"), np.where(mask, x, np.zeros((), dtype)))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("apply", PASSES)
def test_evaluation_is_identity_if_inverted_and_scales_by_keep_prob_if_classic(apply, dtype):
    x = ramp((3, 50), dtype)
    assert_same_bits(apply(x, 0.3, seed=1, training=False), x)
    keep_prob = np.float32(1 - standard.effective_rate(0.25))  # 0.75: exact in every format
    expected = (x.astype(np.float64) * np.float64(keep_prob)).astype(dtype)
    assert_same_bits(apply(x, 0.25, seed=1, training=False, scaling="classic"), expected)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("scaling", standard.SCALINGS)
@pytest.mark.parametrize("apply", PASSES)
def test_rate_zero_is_identity_and_rate_one_all_zeros(apply, scaling, dtype):
    x = ramp((3, 50), dtype)
    x[0, :3] = [np.nan, np.inf, -np.inf]
    for training in (True, False):
        assert_same_bits(apply(x, 0, seed=1, scaling=scaling, training=training), x)
    zeros = np.zeros_like(x)
    assert_same_bits(apply(x, 1, seed=1, scaling=scaling), zeros)
    evaluated = apply(x, 1, seed=1, scaling=scaling, training=False)
    assert_same_bits(evaluated, x if scaling == "inverted" else zeros)


def test_a_rate_that_rounds_to_one_drops_everything_without_dividing_by_zero():
    assert standard.scale(1 - 1e-9) == 0
    assert not standard.forward(np.ones(100), 1 - 1e-9, seed=1).any()


# ---- what is dropped, what is kept


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("apply", PASSES)
def test_dropped_elements_are_positive_zero_whatever_they_held(apply, dtype):
    mask = standard.keep_mask(4000, 0.5, seed=3)
    x = np.resize(np.array([np.nan, np.inf, -np.inf, -1.0, -0.0], dtype), 4000)
    y = apply(x, 0.5, seed=3)
    assert not raw(y)[~mask].any()
    doubled = (x.astype(np.float64) * 2).astype(dtype)
    np.testing.assert_array_equal(np.isnan(y[mask].astype(np.float64)), np.isnan(doubled[mask].astype(np.float64)))
    number = mask & ~np.isnan(x.astype(np.float64))
    np.testing.assert_array_equal(raw(y)[number], raw(doubled)[number])


@pytest.mark.parametrize("dtype", DTYPES[:2], ids=str)
@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5, 0.9, 0.999])
def test_narrow_formats_round_the_float32_product_to_nearest_even(dtype, rate):
    x = np.arange(65536, dtype=np.uint16).view(dtype)  # every value there is
    y = standard.forward(x, rate, seed=1, mask=np.ones((), np.bool_))
    with np.errstate(all="ignore"):
        expected = (x.astype(np.float32) * np.float32(standard.scale(rate))).astype(dtype)
    nan = np.isnan(expected.astype(np.float32))
    np.testing.assert_array_equal(np.isnan(y.astype(np.float32)), nan)
    np.testing.assert_array_equal(raw(y)[~nan], raw(expected)[~nan])


@pytest.mark.parametrize("dtype", DTYPES[:2], ids=str)
def test_narrow_formats_round_halfway_to_even(dtype):
    x = np.arange(65536, dtype=np.uint16).view(dtype)
    x = x[~np.isnan(x.astype(np.float32))]
    # Three quarters of a number are exact in float32, and then often halfway between two narrow numbers.
    y = standard.forward(x, 0.25, seed=1, training=False, scaling="classic")
    expected = (x.astype(np.float32) * np.float32(0.75)).astype(dtype)
    np.testing.assert_array_equal(raw(y), raw(expected))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_scale_of_one_keeps_the_bits_of_a_signalling_nan(dtype):
    quiet = raw(np.array([np.nan], dtype))
    step = np.array(1, quiet.dtype)
    digits = {"float16": 10, "bfloat16": 7, "float32": 23, "float64": 52}[dtype.name]
    signalling = (quiet & ~(step << (digits - 1)) | step).view(dtype)
    x = np.repeat(signalling, 200)
    y = standard.forward(x, 0.5, seed=1, scaling="classic")
    kept = standard.keep_mask(200, 0.5, seed=1)
    np.testing.assert_array_equal(raw(y), np.where(kept, raw(x), 0))


# ---- the mask


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_mask_depends_on_neither_dtype_nor_pass(dtype):
    expected = standard.keep_mask((7, 33), 0.4, seed=2, offset=9)
    for apply in PASSES:
        y = apply(np.ones((7, 33), dtype), 0.4, seed=2, offset=9)
        np.testing.assert_array_equal(y != 0, expected)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 600), st.integers(0, 600), st.integers(0, 2**64 - 1), st.floats(0, 1))
def test_a_prefix_of_a_longer_array_has_the_prefix_of_its_mask(one, two, seed, rate):
    short, long = sorted((one, two))
    expected = standard.keep_mask(long, rate, seed=seed)[:short]
    np.testing.assert_array_equal(standard.keep_mask(short, rate, seed=seed), expected)
    if 0 < standard.threshold(rate) < 65536:
        y = standard.forward(np.ones(short), rate, seed=seed)
        np.testing.assert_array_equal(y != 0, expected)


def test_the_mask_is_drawn_in_c_order_whatever_the_shape():
    flat = standard.keep_mask(120, 0.5, seed=1)
    np.testing.assert_array_equal(standard.keep_mask((4, 5, 6), 0.5, seed=1), flat.reshape(4, 5, 6))


@pytest.mark.parametrize("noise_shape", [(4, 1, 6), (1, 5, 1), (1, 1, 1), (4, 5, 1), (1, 5, 6), (None, 1, None)])
def test_the_mask_is_drawn_on_the_noise_shape_and_shared(noise_shape):
    x = ramp((4, 5, 6))
    drawn = tuple(full if one is None else one for one, full in zip(noise_shape, x.shape, strict=True))
    mask = np.broadcast_to(standard.keep_mask(drawn, 0.5, seed=5), x.shape)
    for apply in PASSES:
        assert_same_bits(apply(x, 0.5, seed=5, noise_shape=noise_shape), reference.dropout(x, mask, 0.5))


@pytest.mark.parametrize("mask_shape", [(), (130,), (1, 130), (20, 1), (3, 1, 1), (3, 20, 130), (1, 20, 130)])
def test_a_mask_made_elsewhere_is_broadcast(mask_shape):
    x = ramp((3, 20, 130))
    mask = np.random.default_rng(0).random(mask_shape) < 0.5
    expected = reference.dropout(x, np.broadcast_to(mask, x.shape), 0.25)
    assert_same_bits(standard.forward(x, 0.25, seed=0, mask=mask), expected)
    assert_same_bits(standard.backward(x, 0.25, mask=mask), expected)


def test_the_mask_that_the_seed_draws_gives_the_same_as_the_seed():
    x = ramp((9, 70))
    mask = standard.keep_mask(x.shape, 0.3, seed=8, offset=1)
    assert_same_bits(standard.forward(x, 0.3, seed=0, mask=mask), standard.forward(x, 0.3, seed=8, offset=1))


@given(hnp.arrays(np.bool_, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=20)))
def test_packed_masks_come_back(mask):
    packed = standard.pack_mask(mask)
    assert packed.size == -(-mask.size // 8)
    np.testing.assert_array_equal(standard.unpack_mask(packed, mask.shape), mask)


def test_the_first_element_is_the_lowest_bit():
    assert standard.pack_mask(np.array([True] + [False] * 8 + [True])).tolist() == [1, 2]


# ---- shapes, layouts, memory


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,), (64,), (1, 1, 1, 1, 5)])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_any_shape(shape, dtype):
    x = np.ones(shape, dtype)
    y = standard.forward(x, 0.5, seed=4)
    assert_same_bits(y, np.where(standard.keep_mask(shape, 0.5, seed=4), x * x.dtype.type(2), x.dtype.type(0)))
    assert standard.forward(x, 0.5, seed=4, mask=np.ones((), np.bool_)).shape == shape


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x.T,
        lambda x: x[::2, ::-1],
        np.asfortranarray,
        lambda x: np.broadcast_to(x[:1], x.shape),
        lambda x: x[:, 1:],
        lambda x: np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(x.dtype).reshape(x.shape),
    ],
    ids=["transposed", "strided", "fortran", "broadcast", "sliced", "unaligned and read-only"],
)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_layout_changes_nothing(view, dtype):
    x = view(ramp((31, 47), dtype))
    before = x.copy()
    expected = standard.forward(np.array(x, order="C", copy=True), 0.3, seed=6)
    assert_same_bits(standard.forward(x, 0.3, seed=6), expected)
    out = np.full((47, 31), 5, dtype).T if x.shape == (31, 47) else np.full(x.shape, 5, dtype)
    assert standard.forward(x, 0.3, seed=6, out=out) is out
    assert_same_bits(out, expected)
    assert_same_bits(x, before)


def test_out_may_be_x_itself_or_overlap_it():
    whole = ramp(1001)
    expected = standard.forward(whole[:1000], 0.5, seed=1)
    overlapping = whole.copy()
    standard.forward(overlapping[:1000], 0.5, seed=1, out=overlapping[1:])
    assert_same_bits(overlapping[1:], expected)
    same = whole[:1000].copy()
    standard.forward(same, 0.5, seed=1, out=same)
    assert_same_bits(same, expected)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("skip", [0, 1, 5])
def test_writing_past_the_caches_changes_nothing(dtype, skip, monkeypatch):
    x = ramp(5000 + skip, dtype)[skip:]
    expected = standard.forward(x, 0.3, seed=6)
    monkeypatch.setattr(passes, "_STREAMING_BYTES", 0)
    for size in (*range(140), 1000, 5000):
        out = np.full(size + 1, 7, dtype)
        standard.forward(x[:size], 0.3, seed=6, out=out[:size])
        assert_same_bits(out[:size], expected[:size])
        assert out[size] == 7


# ---- gradients


@pytest.mark.parametrize("scaling", standard.SCALINGS)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("noise_shape", [None, (6, 1)])
def test_backward_is_the_gradient_by_finite_differences(scaling, training, noise_shape):
    rng = np.random.default_rng(1)
    x, weight = rng.normal(size=(2, 6, 7))
    options = {"seed": 3, "scaling": scaling, "training": training, "noise_shape": noise_shape}

    def loss(x):
        return float((weight * standard.forward(x, 0.4, **options)).sum())

    gradient = standard.backward(weight, 0.4, **options)
    step = 2.0**-10  # the map is linear, so a large step has no truncation error
    for place in np.ndindex(x.shape):
        ahead, behind = x.copy(), x.copy()
        ahead[place] += step
        behind[place] -= step
        difference = (loss(ahead) - loss(behind)) / (2 * step)
        assert gradient[place] == pytest.approx(difference, abs=1e-10)


@pytest.mark.parametrize("dtype", WIDE, ids=str)
def test_forward_and_backward_agree_with_pytorch_given_the_mask(dtype):
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(2).normal(size=(40, 30)).astype(dtype)
    mask = standard.keep_mask(x.shape, 0.3, seed=9)
    given_x = torch.tensor(x, requires_grad=True)
    y = given_x * torch.tensor(mask) * standard.scale(0.3)
    y.backward(torch.tensor(2 * x))
    tolerance = 4 * np.finfo(dtype).eps
    np.testing.assert_allclose(standard.forward(x, 0.3, seed=9), y.detach().numpy(), rtol=tolerance)
    np.testing.assert_allclose(standard.backward(2 * x, 0.3, seed=9), given_x.grad.numpy(), rtol=tolerance)
    native, native_mask = torch.native_dropout(torch.tensor(x), 0.25, train=True)  # and with PyTorch's own mask
    ours = standard.forward(x, 0.25, seed=0, mask=native_mask.numpy())
    np.testing.assert_allclose(ours, native.numpy(), rtol=tolerance)


# ---- what is rejected


@pytest.mark.parametrize(
    ("pointer", "arguments"),
    [
        ("/rate", {"rate": 1.5}),
        ("/rate", {"rate": -0.1}),
        ("/rate", {"rate": float("nan")}),
        ("/rate", {"rate": True}),
        ("/rate", {"rate": "0.5"}),
        ("/seed", {"seed": -1}),
        ("/seed", {"seed": 2**64}),
        ("/seed", {"seed": 1.0}),
        ("/seed", {"seed": True}),
        ("/offset", {"offset": -1}),
        ("/scaling", {"scaling": "other"}),
        ("/x", {"x": np.ones((2, 3), np.int64)}),
        ("/x", {"x": np.ones((2, 3), np.bool_)}),
        ("/x", {"x": np.ones((2, 3), np.complex64)}),
        ("/x", {"x": np.ones((2, 3), np.longdouble)}),
        ("/x", {"x": np.ones((2, 3), ">f4")}),
        ("/x", {"x": np.array([["a"]])}),
        ("/noise_shape", {"noise_shape": (2,)}),
        ("/noise_shape", {"noise_shape": (2, 2)}),
        ("/mask", {"mask": np.ones((2, 3), np.uint8)}),
        ("/mask", {"mask": np.ones((2, 2), np.bool_)}),
        ("/mask", {"mask": np.ones((1, 2, 3), np.bool_)}),
        ("/out", {"out": np.ones((3, 2), np.float32)}),
        ("/out", {"out": np.ones((2, 3), np.float64)}),
    ],
)
def test_a_wrong_argument_is_named(pointer, arguments):
    good = {"x": np.ones((2, 3), np.float32), "rate": 0.5, "seed": 1}
    with pytest.raises(InvalidInputError) as caught:
        standard.forward(**{**good, **arguments})
    assert [error.pointer for error in caught.value.errors] == [pointer]


def test_a_read_only_out_is_named():
    out = np.ones(3)
    out.flags.writeable = False
    with pytest.raises(InvalidInputError, match=r"not a read-only float64 of shape \[3\]"):
        standard.forward(np.ones(3), 0.5, seed=1, out=out)


def test_backward_needs_a_seed_or_a_mask():
    with pytest.raises(InvalidInputError) as caught:
        standard.backward(np.ones(3), 0.5)
    assert caught.value.errors[0].pointer == "/seed"
    with pytest.raises(InvalidInputError) as caught:
        standard.backward(np.ones(3, np.int32), 0.5, seed=1)
    assert caught.value.errors[0].pointer == "/grad_output"


def test_a_packed_mask_of_the_wrong_length_is_named():
    with pytest.raises(InvalidInputError, match="is 2 bytes") as caught:
        standard.unpack_mask(np.zeros(1, np.uint8), (3, 3))
    assert caught.value.errors[0].pointer == "/mask"
