from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import from_json, to_json

from dropout_service.api.arrays.base import FLOAT_DTYPES
from dropout_service.api.arrays.json import decode_bools, decode_encoded, decode_numbers, encode_array, nested
from dropout_service.errors import InvalidInputError

FLOAT64 = FLOAT_DTYPES["float64"]
shapes = st.lists(st.integers(0, 4), max_size=4)
seeds = st.integers(0, 2**32 - 1)


def drawn(shape: list[int], seed: int, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Floats of every kind: any bits are one, NaN and infinities among them."""
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 256, size=(*shape, dtype.itemsize), dtype=np.uint8)
    return bits.view(dtype).reshape(shape)


@pytest.mark.parametrize("dtype", FLOAT_DTYPES.values(), ids=FLOAT_DTYPES.keys())
@given(shape=shapes, seed=seeds)
def test_numbers_survive_json(dtype: np.dtype[Any], shape: list[int], seed: int):
    array = drawn(shape, seed, dtype)
    text = to_json(nested(array), inf_nan_mode="strings")
    again = decode_numbers(from_json(text, allow_inf_nan=False), dtype, "/x")
    assert again.dtype == dtype
    # Below an empty axis nested lists cannot tell the lengths.
    expected = array if array.size else np.empty(again.shape, dtype)
    with np.errstate(invalid="ignore"):  # the casts of signalling NaNs
        assert np.array_equal(again.astype(FLOAT64), expected.astype(FLOAT64), equal_nan=True)


@pytest.mark.parametrize("dtype", FLOAT_DTYPES.values(), ids=FLOAT_DTYPES.keys())
@given(shape=shapes, seed=seeds)
def test_encoded_arrays_keep_every_bit(dtype: np.dtype[Any], shape: list[int], seed: int):
    array = drawn(shape, seed, dtype)
    again = decode_encoded(encode_array(array), FLOAT_DTYPES, "/x")
    assert again.shape == array.shape
    assert again.tobytes() == array.tobytes()


@given(shape=shapes, seed=seeds)
def test_masks_survive_json(shape: list[int], seed: int):
    mask = np.random.default_rng(seed).random(shape) < 0.5
    again = decode_bools(from_json(to_json(mask.tolist())), "/mask")
    assert again.dtype == np.bool
    assert np.array_equal(again, mask if mask.size else np.empty(again.shape, np.bool))


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=2), below, max_size=2),
    max_leaves=12,
)


@given(junk)
def test_anything_else_is_rejected_with_a_pointer_to_it(value: Any):
    try:
        array = decode_numbers(value, FLOAT64, "/x")
    except InvalidInputError as error:
        [fault] = error.errors
        assert fault.pointer == "/x" or fault.pointer.startswith("/x/")
        for step in fault.pointer.split("/")[2:]:
            value = value[int(step)]  # what the pointer names is there
    else:
        assert array.dtype == FLOAT64
        assert np.array_equal(array, np.array(value, FLOAT64), equal_nan=True)
