"""The elementwise part of a dense layer: bias, activation, dropout and their gradient, each in one pass.

A forward pass leaves two arrays behind: the value after dropout and the *local derivative* (activation derivative
times mask times scale). The backward pass is then one product whatever the activation, and the mask is neither
stored nor drawn again. A derivative of 0 *selects* a gradient of 0, so nothing leaks through a dropped unit.

``draws`` are the 16-bit draws of the mask stream in C order: an element is kept when its draw is at least
``threshold`` (see ``kernels.dropout``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dropout_service.kernels.codegen.compile_cache import jit, warms

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["dense_backward", "drop", "drop_with_derivative", "rectify_and_drop", "relu_drop", "through"]


@jit
def drop(
    x: NDArray[np.floating], draws: NDArray[np.uint16], threshold: int, scale: float, out: NDArray[np.floating]
) -> None:
    """``out = x * scale`` where kept, 0 elsewhere; ``out`` may be ``x``."""
    factor = x.dtype.type(scale)
    zero = x.dtype.type(0)
    rows, units = x.shape
    for i in range(rows):
        row = draws[i * units : (i + 1) * units]
        for j in range(units):
            kept = x[i, j] * factor  # before it is chosen: a load that is not made always is no vector's
            out[i, j] = kept if row[j] >= threshold else zero


@jit
def drop_with_derivative(
    value: NDArray[np.floating],
    derivative: NDArray[np.floating],
    draws: NDArray[np.uint16],
    threshold: int,
    scale: float,
) -> None:
    """Drop elements of ``value`` and of ``derivative`` in place, with the same mask."""
    factor = value.dtype.type(scale)
    zero = value.dtype.type(0)
    rows, units = value.shape
    for i in range(rows):
        row = draws[i * units : (i + 1) * units]
        for j in range(units):
            kept, slope = value[i, j] * factor, derivative[i, j] * factor  # as in `drop`
            value[i, j] = kept if row[j] >= threshold else zero
            derivative[i, j] = slope if row[j] >= threshold else zero


@jit
def relu_drop(  # noqa: PLR0917 - a compiled kernel takes its arguments by position
    z: NDArray[np.floating],
    bias: NDArray[np.floating],
    draws: NDArray[np.uint16],
    threshold: int,
    scale: float,
    derivative: NDArray[np.floating],
) -> None:
    """Bias, ReLU and dropout of ``z`` in place, with the local derivative."""
    factor = z.dtype.type(scale)
    zero = z.dtype.type(0)
    rows, units = z.shape
    for i in range(rows):
        row = draws[i * units : (i + 1) * units]
        for j in range(units):
            response = z[i, j] + bias[j]
            passed = (row[j] >= threshold) & (not response <= zero)  # a NaN passes, as in the plain composition
            z[i, j] = response * factor if passed else zero
            derivative[i, j] = factor if passed else zero


@jit
def rectify_and_drop(
    z: NDArray[np.floating],
    draws: NDArray[np.uint16],
    threshold: int,
    scale: float,
    derivative: NDArray[np.floating],
) -> None:
    """ReLU and dropout of a vector ``z`` in place, which has its bias, with the local derivative; see `relu_drop`."""
    factor = z.dtype.type(scale)
    zero = z.dtype.type(0)
    for i in range(z.size):
        passed = (draws[i] >= threshold) & (not z[i] <= zero)
        z[i] = z[i] * factor if passed else zero
        derivative[i] = factor if passed else zero


@jit
def through(grad: NDArray[np.floating], derivative: NDArray[np.floating]) -> None:
    """Multiply a vector ``grad`` by the local derivative in place."""
    zero = grad.dtype.type(0)
    for i in range(grad.size):
        slope = grad[i] * derivative[i]  # before it is chosen, as in `drop`
        grad[i] = slope if derivative[i] != zero else zero


@jit
def dense_backward(
    grad: NDArray[np.floating], derivative: NDArray[np.floating], bias_grad: NDArray[np.floating]
) -> None:
    """Multiply ``grad`` by the local derivative in place and sum it over the rows into ``bias_grad``."""
    zero = grad.dtype.type(0)
    rows, units = grad.shape
    bias_grad[:] = zero
    for i in range(rows):
        for j in range(units):
            local = derivative[i, j]
            g = grad[i, j] * local if local != zero else zero
            grad[i, j] = g
            bias_grad[j] += g


@warms
def _warm() -> None:
    draws = np.zeros(1, np.uint16)
    for dtype in (np.float32, np.float64):
        x, derivative = np.zeros((1, 1), dtype), np.zeros((1, 1), dtype)
        drop(x, draws, 0, 1.0, x)
        drop_with_derivative(x, derivative, draws, 0, 1.0)
        relu_drop(x, np.zeros(1, dtype), draws, 0, 1.0, derivative)
        dense_backward(x, derivative, np.zeros(1, dtype))
