"""Corners that a mutation test found untested; see docs/mutation.md."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from dropout_service.kernels.dropout import passes, standard
from dropout_service.kernels.streams import Purpose, stream


@pytest.mark.parametrize(
    ("purpose", "top_byte"),
    [("DROPOUT", 1), ("INPUT_DROPOUT", 2), ("INIT", 3), ("SHUFFLE", 4), ("SPLIT", 5), ("MC_SAMPLE", 6)],
)
def test_offsets_never_change(purpose: str, top_byte: int):
    # A job that is resumed by a later version has to draw what the earlier one drew.
    assert stream(Purpose[purpose], layer=2, step=3) == (top_byte << 56) + (2 << 40) + 3


@pytest.mark.parametrize(("rate", "kept"), [(0, True), (1e-6, True), (1, False), (1 - 1e-6, False)])
def test_the_mask_of_a_rate_that_needs_no_draw(rate: float, kept: bool):  # noqa: FBT001 - what the decorator lists
    mask = standard.keep_mask((3, 5), rate, seed=1)
    assert mask.dtype == np.bool_
    assert (mask == kept).all()


def test_seed_zero_is_a_seed_like_any_other():
    ones = np.ones(256)
    forward = standard.forward(ones, 0.5, seed=0)
    np.testing.assert_array_equal(standard.backward(ones, 0.5, seed=0), forward)
    np.testing.assert_array_equal(forward != 0, standard.keep_mask(256, 0.5, seed=0))
    assert not np.array_equal(forward, standard.forward(ones, 0.5, seed=1))


@pytest.mark.parametrize("apply", [standard.forward, standard.backward])
def test_evaluation_drops_not_even_one_element_of_many(apply):  # noqa: ANN001 - what the decorator lists
    ones = np.ones(1 << 19, np.float32)  # a threshold of one would drop eight
    np.testing.assert_array_equal(apply(ones, 0.5, seed=1, training=False), ones)


@pytest.mark.parametrize(
    "dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64], ids=lambda dtype: dtype.__name__
)
def test_every_format_is_written_whole_where_arrays_are_large(dtype, monkeypatch):  # noqa: ANN001 - as above
    x = np.linspace(-3, 3, 5000).astype(dtype)
    expected = standard.forward(x, 0.3, seed=6)
    monkeypatch.setattr(passes, "_STREAMING_BYTES", 0)
    out = np.full(x.shape, 7, dtype)
    standard.forward(x, 0.3, seed=6, out=out)
    assert out.tobytes() == expected.tobytes()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_large_array_may_begin_at_any_byte(dtype, monkeypatch):  # noqa: ANN001 - as above
    x = np.linspace(-3, 3, 5000).astype(dtype)
    expected = standard.forward(x, 0.3, seed=6)
    monkeypatch.setattr(passes, "_STREAMING_BYTES", 0)  # stores past the caches need whole elements, aligned
    out = np.zeros(x.nbytes + 1, np.uint8)[1:].view(dtype)
    standard.forward(x, 0.3, seed=6, out=out)
    assert out.tobytes() == expected.tobytes()
