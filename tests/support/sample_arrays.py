"""Arrays to send, and how to compare what comes back."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from dropout_service.kernels.variants import Variant

__all__ = ["array_for", "npy", "same_bits"]


def npy(array: Any, **options: Any) -> bytes:
    """Return an npy file; the options are those of `numpy.lib.format.write_array`."""
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asarray(array), **options)
    return file.getvalue()


def array_for(variant: Variant, seed: int) -> np.ndarray[Any, Any]:
    """Draw three samples of the shape that suits a variant."""
    return np.random.default_rng(seed).standard_normal((3, *variant.example_shape[1:]), np.float32)


def same_bits(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
