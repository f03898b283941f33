from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


@pytest.fixture
def numeric_gradient() -> Callable[[Callable[[], float], NDArray[np.float64]], NDArray[np.float64]]:
    """Central differences of a scalar function by an array that it reads, changed in place and put back."""

    def gradient(function: Callable[[], float], array: NDArray[np.float64], step: float = 1e-6) -> NDArray[np.float64]:
        result = np.empty_like(array)
        for place in np.ndindex(array.shape):
            before = array[place]
            array[place] = before + step
            above = function()
            array[place] = before - step
            below = function()
            array[place] = before
            result[place] = (above - below) / (2 * step)
        return result

    return gradient
