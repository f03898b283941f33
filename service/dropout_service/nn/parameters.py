"""All parameters of a network in one vector, and their gradients in another."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import DTypeLike, NDArray

__all__ = ["Parameters"]


class Parameters:
    """Named arrays that are views of one contiguous vector; likewise their gradients.

    One vector makes an optimizer step, a gradient norm, a checkpoint and a copy of the best weights each a single
    pass over memory, whatever the number of layers. Weights (matrices) come first and biases (vectors) after them,
    so that weight decay applies to a prefix.

    Parameters
    ----------
    shapes
        Shape of each array by name.
    dtype
        ``float32``, or ``float64`` for gradient checks.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], dtype: DTypeLike = np.float32) -> None:
        order = sorted(shapes, key=lambda name: len(shapes[name]) == 1)  # stable: layers stay in order
        size = sum(math.prod(shape) for shape in shapes.values())
        self.values: NDArray[np.floating] = np.zeros(size, dtype)
        self.grads: NDArray[np.floating] = np.zeros(size, dtype)
        self.weight_count = sum(math.prod(shape) for shape in shapes.values() if len(shape) > 1)
        self._places: dict[str, tuple[slice, tuple[int, ...]]] = {}
        begin = 0
        for name in order:
            end = begin + math.prod(shapes[name])
            self._places[name] = (slice(begin, end), shapes[name])
            begin = end

    def views(self, vector: NDArray[np.floating] | None = None) -> dict[str, NDArray[np.floating]]:
        """Return the named arrays as views of ``vector`` (the values by default)."""
        source = self.values if vector is None else vector
        return {name: source[place].reshape(shape) for name, (place, shape) in self._places.items()}

    def grad_norm(self) -> float:
        """Return the global L2 norm of the gradients; not finite when one of them is not.

        The square is taken in the dtype of the parameters: a float32 norm above 1.8e19 is reported as infinite.
        """
        return math.sqrt(np.dot(self.grads, self.grads))
