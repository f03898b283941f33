"""Parameter updates, each one pass over flat, contiguous arrays.

The first ``decayed`` elements are weights and feel weight decay; the rest are biases and never do. ``grad_scale``
is the factor of gradient clipping, folded in so that clipping costs no pass of its own.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from dropout_service.kernels.codegen.compile_cache import jit, warms

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["adam_step", "max_norm", "sgd_step"]


@jit
def sgd_step(  # noqa: PLR0917 - a compiled kernel takes its arguments by position
    params: NDArray[np.floating],
    grads: NDArray[np.floating],
    velocity: NDArray[np.floating],
    decayed: int,
    grad_scale: float,
    learning_rate: float,
    momentum: float,
    weight_decay: float,
    nesterov: bool,  # noqa: FBT001 - as above
) -> None:
    """Update ``params`` and ``velocity`` in place: v = momentum v + g, then p -= learning_rate v.

    With ``nesterov`` the step is along g + momentum v instead.
    """
    dtype = params.dtype.type
    scale, rate, friction, decay = dtype(grad_scale), dtype(learning_rate), dtype(momentum), dtype(weight_decay)
    look_ahead = friction if nesterov else dtype(0)
    own = dtype(1) if nesterov else dtype(0)
    along = look_ahead if nesterov else dtype(1)
    for begin, end, penalty in ((0, decayed, decay), (decayed, params.size, dtype(0))):
        # Slices, so that the loop runs from 0: Numba then proves the indices and LLVM vectorises
        p, g, v = params[begin:end], grads[begin:end], velocity[begin:end]
        for i in range(end - begin):
            slope = g[i] * scale + penalty * p[i]
            v[i] = friction * v[i] + slope
            p[i] -= rate * (own * slope + along * v[i])


@jit
def adam_step(  # noqa: PLR0917 - as above
    params: NDArray[np.floating],
    grads: NDArray[np.floating],
    mean: NDArray[np.floating],
    variance: NDArray[np.floating],
    decayed: int,
    grad_scale: float,
    learning_rate: float,
    beta1: float,
    beta2: float,
    epsilon: float,
    l2: float,
    shrink: float,
    step: int,
) -> None:
    """Update ``params``, ``mean`` and ``variance`` in place; ``step`` counts from 1.

    ``l2`` is added to the gradient (Adam), ``shrink`` multiplies the weights directly (AdamW); one of them is 0.
    """
    dtype = params.dtype.type
    scale, b1, b2 = dtype(grad_scale), dtype(beta1), dtype(beta2)
    c1, c2 = dtype(1 - beta1), dtype(1 - beta2)
    size = dtype(learning_rate / (1 - beta1**step))
    root = dtype(1 / math.sqrt(1 - beta2**step))
    tiny = dtype(epsilon)
    keep = dtype(1 - learning_rate * shrink)
    for begin, end, penalty, factor in (
        (0, decayed, dtype(l2), keep),
        (decayed, params.size, dtype(0), dtype(1)),
    ):
        p, g, m, v = params[begin:end], grads[begin:end], mean[begin:end], variance[begin:end]
        for i in range(end - begin):
            slope = g[i] * scale + penalty * p[i]
            first = b1 * m[i] + c1 * slope
            second = b2 * v[i] + c2 * slope * slope
            m[i] = first
            v[i] = second
            p[i] = p[i] * factor - size * first / (dtype(math.sqrt(second)) * root + tiny)


@jit
def max_norm(weight: NDArray[np.floating], bound: float, squares: NDArray[np.float64]) -> None:
    """Shrink each column of ``weight`` (inputs, units) in place to an L2 norm of at most ``bound``.

    ``squares`` is scratch space of one element a unit. The sums are float64, row after row, so that no stride is
    taken through memory.
    """
    inputs, units = weight.shape
    squares[:] = 0.0
    for i in range(inputs):
        for j in range(units):
            squares[j] += np.float64(weight[i, j]) * np.float64(weight[i, j])
    exceeded = False
    for j in range(units):
        norm = math.sqrt(squares[j])
        squares[j] = 1.0
        if norm > bound:
            squares[j] = bound / norm
            exceeded = True
    if exceeded:
        for i in range(inputs):
            for j in range(units):
                weight[i, j] = weight[i, j] * squares[j]


@warms
def _warm() -> None:
    for dtype in (np.float32, np.float64):
        p, g, m, v = (np.zeros(1, dtype) for _ in range(4))
        sgd_step(p, g, m, 1, 1.0, 0.1, 0.9, 0.0, False)
        adam_step(p, g, m, v, 1, 1.0, 0.1, 0.9, 0.999, 1e-8, 0.0, 0.0, 1)
        max_norm(np.zeros((1, 1), dtype), 1.0, np.zeros(1))
