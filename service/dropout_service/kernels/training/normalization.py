"""Normalisation of the units of a row, and of the rows of a unit, with their gradients.

Moments are summed in float64, row after row, whatever the dtype. ``normalized`` and ``inverse``, one over the
deviation, are what a forward pass leaves for the backward pass.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from dropout_service.kernels.codegen.compile_cache import jit, warms

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating]
    Doubles = NDArray[np.float64]

__all__ = ["batch_backward", "batch_moments", "batch_normalize", "layer_backward", "layer_normalize"]


@jit
def layer_normalize(  # noqa: PLR0917 - a compiled kernel takes its arguments by position
    x: Floats, gain: Floats, bias: Floats, epsilon: float, normalized: Floats, inverse: Doubles, out: Floats
) -> None:
    """``out = (x - mean) / sqrt(variance + epsilon) gain + bias``, with the moments of each row."""
    rows, units = x.shape
    fours = units // 4 * 4
    for i in range(rows):
        row = x[i]
        # Four sums side by side, in an order that is written down: each addition of one sum waits for the one before
        t0, t1, t2, t3 = 0.0, 0.0, 0.0, 0.0
        for j in range(0, fours, 4):
            t0 += np.float64(row[j])
            t1 += np.float64(row[j + 1])
            t2 += np.float64(row[j + 2])
            t3 += np.float64(row[j + 3])
        for j in range(fours, units):
            t0 += np.float64(row[j])
        mean = ((t0 + t1) + (t2 + t3)) / units
        t0, t1, t2, t3 = 0.0, 0.0, 0.0, 0.0
        for j in range(0, fours, 4):
            t0 += (np.float64(row[j]) - mean) ** 2
            t1 += (np.float64(row[j + 1]) - mean) ** 2
            t2 += (np.float64(row[j + 2]) - mean) ** 2
            t3 += (np.float64(row[j + 3]) - mean) ** 2
        for j in range(fours, units):
            t0 += (np.float64(row[j]) - mean) ** 2
        one_over = 1.0 / math.sqrt(((t0 + t1) + (t2 + t3)) / units + epsilon)
        inverse[i] = one_over
        for j in range(units):
            value = x.dtype.type((np.float64(x[i, j]) - mean) * one_over)
            normalized[i, j] = value
            out[i, j] = value * gain[j] + bias[j]


@jit
def layer_backward(  # noqa: PLR0917 - as above
    grad: Floats, normalized: Floats, inverse: Doubles, gain: Floats, gain_grad: Floats, bias_grad: Floats
) -> None:
    """Turn ``grad`` into the gradient by ``x`` in place; write those by gain and bias."""
    rows, units = grad.shape
    gain_grad[:] = 0
    bias_grad[:] = 0
    evens = units // 2 * 2
    for i in range(rows):
        g, n = grad[i], normalized[i]
        for j in range(units):
            gain_grad[j] += g[j] * n[j]
            bias_grad[j] += g[j]
        m0, m1, d0, d1 = 0.0, 0.0, 0.0, 0.0
        for j in range(0, evens, 2):
            first = np.float64(g[j]) * np.float64(gain[j])
            second = np.float64(g[j + 1]) * np.float64(gain[j + 1])
            m0 += first
            m1 += second
            d0 += first * np.float64(n[j])
            d1 += second * np.float64(n[j + 1])
        for j in range(evens, units):
            first = np.float64(g[j]) * np.float64(gain[j])
            m0 += first
            d0 += first * np.float64(n[j])
        along_mean, along_deviation, one_over = (m0 + m1) / units, (d0 + d1) / units, inverse[i]
        for j in range(units):
            inner = np.float64(g[j]) * np.float64(gain[j])
            g[j] = one_over * (inner - along_mean - np.float64(n[j]) * along_deviation)


@jit
def batch_moments(x: Floats, mean: Doubles, variance: Doubles) -> None:
    """Write mean and (biased) variance of each column, (units,)."""
    rows, units = x.shape
    mean[:] = 0
    variance[:] = 0
    for i in range(rows):
        for j in range(units):
            mean[j] += np.float64(x[i, j])
    for j in range(units):
        mean[j] /= rows
    for i in range(rows):
        for j in range(units):
            centred = np.float64(x[i, j]) - mean[j]
            variance[j] += centred * centred
    for j in range(units):
        variance[j] /= rows


@jit
def batch_normalize(  # noqa: PLR0917 - as above
    x: Floats, mean: Doubles, inverse: Doubles, gain: Floats, bias: Floats, normalized: Floats, out: Floats
) -> None:
    """``out = (x - mean) inverse gain + bias``, with a mean and an ``inverse`` for each column."""
    rows, units = x.shape
    for i in range(rows):
        for j in range(units):
            value = x.dtype.type((np.float64(x[i, j]) - mean[j]) * inverse[j])
            normalized[i, j] = value
            out[i, j] = value * gain[j] + bias[j]


@jit
def batch_backward(  # noqa: PLR0917 - as above
    grad: Floats,
    normalized: Floats,
    inverse: Doubles,
    gain: Floats,
    gain_grad: Floats,
    bias_grad: Floats,
    sums: Doubles,
    of_rows: bool,  # noqa: FBT001 - as above
) -> None:
    """Turn ``grad`` into the gradient by ``x`` in place; write those by gain and bias.

    ``of_rows`` says that the moments were those of the rows of ``x``, and so have a gradient themselves; ``sums`` is
    scratch space, (2, units).
    """
    rows, units = grad.shape
    sums[:] = 0
    for i in range(rows):
        for j in range(units):
            g = np.float64(grad[i, j])
            sums[0, j] += g
            sums[1, j] += g * np.float64(normalized[i, j])
    for j in range(units):
        bias_grad[j] = sums[0, j]
        gain_grad[j] = sums[1, j]
        sums[0, j] = sums[0, j] / rows if of_rows else 0.0
        sums[1, j] = sums[1, j] / rows if of_rows else 0.0
    for i in range(rows):
        for j in range(units):
            centred = np.float64(grad[i, j]) - sums[0, j] - np.float64(normalized[i, j]) * sums[1, j]
            grad[i, j] = np.float64(gain[j]) * inverse[j] * centred


@warms
def _warm() -> None:
    moments, sums = np.ones(1), np.zeros((2, 1))
    for dtype in (np.float32, np.float64):
        x, vector = np.zeros((1, 1), dtype), np.zeros(1, dtype)
        layer_normalize(x, vector, vector, 1.0, x, moments, x)
        layer_backward(x, x, moments, vector, vector, vector)
        batch_moments(x, moments, moments)
        batch_normalize(x, moments, moments, vector, vector, x, x)
        batch_backward(x, x, moments, vector, vector, vector, sums, True)
