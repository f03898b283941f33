# ruff: noqa: ANN001 - parameters are what their decorators list

from __future__ import annotations

import platform

import ml_dtypes
import numpy as np
import pytest
from other_cpu import run_tests

from dropout_service.kernels import conversions

NARROW = [np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)]


def assert_same_numbers(actual, expected):
    """The same bits, save for the payload of a NaN."""
    with np.errstate(invalid="ignore"):  # signalling NaN
        nan = np.isnan(expected.astype(np.float64))
        np.testing.assert_array_equal(np.isnan(actual.astype(np.float64)), nan)
    bits = np.dtype(f"u{expected.itemsize}")
    np.testing.assert_array_equal(actual.view(bits)[~nan], expected.view(bits)[~nan])


@pytest.mark.parametrize("dtype", NARROW, ids=str)
def test_every_narrow_number_is_widened_exactly_and_comes_back(dtype):
    every = np.arange(65536, dtype=np.uint16).view(dtype)
    wide = conversions.widen(every)
    with np.errstate(invalid="ignore"):  # signalling NaN
        assert_same_numbers(wide, every.astype(np.float32))
    back = np.empty_like(every)
    conversions.narrow(wide, back)
    assert_same_numbers(back, every)


@pytest.mark.parametrize("dtype", NARROW, ids=str)
def test_float32_is_rounded_to_nearest_even(dtype):
    with np.errstate(all="ignore"):
        every = np.arange(65535, dtype=np.uint16).view(dtype).astype(np.float64)
        halfway = ((every[:-1] + every[1:]) / 2).astype(np.float32)  # exact: one more digit
        around = [halfway, np.nextafter(halfway, np.float32(np.inf)), np.nextafter(halfway, np.float32(-np.inf))]
        x = np.concatenate([*around, np.random.default_rng(0).integers(0, 2**32, 2**16, np.uint32).view(np.float32)])
        expected = x.astype(dtype)
    y = np.empty(x.size, dtype)
    conversions.narrow(x, y)
    assert_same_numbers(y, expected)


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="names CPUs of that kind")
def test_a_cpu_without_instructions_for_float16_converts_as_others_do():
    run_tests(__file__, "narrow_number or nearest_even", cpu="x86-64", features="")


@pytest.mark.parametrize("size", [0, 1, 31, 32, 33, 2**16 + 5])
@pytest.mark.parametrize("threads", [1, 3])
def test_any_size_on_any_number_of_threads(size, threads):
    x = np.linspace(-100, 100, size).astype(np.float16)
    wide = conversions.widen(x, threads=threads)
    np.testing.assert_array_equal(wide, x.astype(np.float32))
    y = np.full(size + 1, 7, np.float16)
    conversions.narrow(wide, y[:size], threads=threads)
    np.testing.assert_array_equal(y, np.append(x, np.float16(7)))
