"""Named arrays in one vector: the buffers of a network, and its parameters with their gradients."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import DTypeLike, NDArray

__all__ = ["ArrayVector", "ParameterVector"]


class ArrayVector:
    """Named arrays that are views of one contiguous vector, ``values``, zeros at first.

    One vector makes a checkpoint and a copy of the best state a single pass over memory, whatever the number of layers.

    Parameters
    ----------
    shapes
        Shape of each array by name, in the order of the vector.
    dtype
        ``float32``, or ``float64`` for gradient checks.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], dtype: DTypeLike = np.float32) -> None:
        self.values: NDArray[np.floating] = np.zeros(sum(math.prod(shape) for shape in shapes.values()), dtype)
        self._places: dict[str, tuple[slice, tuple[int, ...]]] = {}
        begin = 0
        for name, shape in shapes.items():
            end = begin + math.prod(shape)
            self._places[name] = (slice(begin, end), shape)
            begin = end

    @property
    def offsets(self) -> dict[str, int]:
        """Where in the vector each array begins, in elements."""
        return {name: place.start for name, (place, _) in self._places.items()}

    def views(self, vector: NDArray[np.floating] | None = None) -> dict[str, NDArray[np.floating]]:
        """Return the named arrays as views of ``vector`` (the values by default)."""
        source = self.values if vector is None else vector
        return {name: source[place].reshape(shape) for name, (place, shape) in self._places.items()}


class ParameterVector(ArrayVector):
    """Parameters, and their gradients in a vector of the same layout.

    An optimizer step and a gradient norm are each a single pass. Weights (matrices) come first and biases (vectors)
    after them, so that weight decay applies to a prefix.

    Parameters
    ----------
    shapes, dtype
        As for ``ArrayVector``, in any order.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], dtype: DTypeLike = np.float32) -> None:
        order = sorted(shapes, key=lambda name: len(shapes[name]) == 1)  # stable: layers stay in order
        super().__init__({name: shapes[name] for name in order}, dtype)
        self.grads: NDArray[np.floating] = np.zeros_like(self.values)
        self.weight_count = sum(math.prod(shape) for shape in shapes.values() if len(shape) > 1)

    def grad_norm(self) -> float:
        """Return the global L2 norm of the gradients; not finite when one of them is not.

        The square is taken in the dtype of the parameters: a float32 norm above 1.8e19 is reported as infinite.
        """
        return math.sqrt(np.dot(self.grads, self.grads))
