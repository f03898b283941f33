"""Columns of a table: piecewise-linear numbers, and rows of tables that codes name.

A code is an integer in a column of floats. What is none, or not below its cardinality, is taken for 0: no memory is
read or written that is not the table's. Gradients of a table are summed row after row, so that they do not depend on
threads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dropout_service.kernels.codegen.compile_cache import jit, warms

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating]
    Integers = NDArray[np.int64]

__all__ = ["add_rows", "clip_lines", "clip_lines_backward", "look_up", "select"]


@jit
def select(x: Floats, columns: Integers, begin: int, out: Floats) -> None:
    """Write chosen columns of ``x``, side by side, into ``out`` from column ``begin`` on."""
    for i in range(x.shape[0]):
        for c in range(columns.size):
            out[i, begin + c] = x[i, columns[c]]


@jit
def clip_lines(  # noqa: PLR0917 - a compiled kernel takes its arguments by position
    x: Floats, start: Floats, slope: Floats, low: Floats, high: Floats, out: Floats
) -> None:
    """``out[:, j bins + t] = clip((x[:, j] - start) slope, low, high)``, the last four by ``j bins + t``."""
    rows, inputs = x.shape
    bins = start.size // inputs
    for i in range(rows):
        for j in range(inputs):
            for k in range(j * bins, (j + 1) * bins):
                value = (x[i, j] - start[k]) * slope[k]
                value = max(value, low[k])
                out[i, k] = min(value, high[k])


@jit
def clip_lines_backward(grad: Floats, values: Floats, slope: Floats, low: Floats, high: Floats, out: Floats) -> None:  # noqa: PLR0917 - as above
    """Write the gradient by ``x`` of ``clip_lines``, whose result is ``values``."""
    rows, inputs = out.shape
    bins = slope.size // inputs
    for i in range(rows):
        for j in range(inputs):
            total = 0.0
            for k in range(j * bins, (j + 1) * bins):
                if low[k] < values[i, k] < high[k]:
                    total += np.float64(grad[i, k]) * np.float64(slope[k])
            out[i, j] = total


@jit
def look_up(  # noqa: PLR0917 - as above
    x: Floats, columns: Integers, offsets: Integers, table: Floats, begin: int, out: Floats
) -> None:
    """Write the rows of a table that codes name, side by side, into ``out`` from column ``begin`` on.

    ``columns`` are those of ``x`` that hold codes; the rows for ``columns[c]`` are from ``offsets[c]`` to
    ``offsets[c + 1]``.
    """
    dim = table.shape[1]
    for i in range(x.shape[0]):
        for c in range(columns.size):
            code = x[i, columns[c]]
            row = offsets[c]
            if code > 0 and code < offsets[c + 1] - offsets[c]:
                row += np.int64(code)
            place = begin + c * dim
            for d in range(dim):
                out[i, place + d] = table[row, d]


@jit
def add_rows(  # noqa: PLR0917 - as above
    x: Floats, columns: Integers, offsets: Integers, grad: Floats, begin: int, table_grad: Floats
) -> None:
    """Write the gradient of the table of ``look_up``: for each of its rows the sum over those who looked it up."""
    dim = table_grad.shape[1]
    table_grad[:] = 0
    for i in range(x.shape[0]):
        for c in range(columns.size):
            code = x[i, columns[c]]
            row = offsets[c]
            if code > 0 and code < offsets[c + 1] - offsets[c]:
                row += np.int64(code)
            place = begin + c * dim
            for d in range(dim):
                table_grad[row, d] += grad[i, place + d]


@warms
def _warm() -> None:
    columns, offsets = np.zeros(1, np.int64), np.array([0, 1])
    for dtype in (np.float32, np.float64):
        x, vector = np.zeros((1, 1), dtype), np.zeros(1, dtype)
        clip_lines(x, vector, vector, vector, vector, x)
        clip_lines_backward(x, x, vector, vector, vector, x)
        look_up(x, columns, offsets, x, 0, x)
        add_rows(x, columns, offsets, x, 0, x)
