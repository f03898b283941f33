"""Equality of arrays to the bit, NaN and signs included."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["assert_same_bits", "raw"]

Array = np.ndarray[Any, Any]


def raw(x: Array) -> Array:
    """The bits of an array's elements, in C order."""
    return np.ascontiguousarray(x).reshape(-1).view(np.dtype(f"u{x.itemsize}"))


def assert_same_bits(actual: Array, expected: Array) -> None:
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    np.testing.assert_array_equal(raw(actual), raw(expected))
