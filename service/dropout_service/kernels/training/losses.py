"""Losses with their gradients, one pass over the rows each.

Every kernel writes the gradient of the *mean* loss over the rows into ``grad`` and adds the *sums* over the rows to
``sums``: the loss first, then what the metrics need (correctly classified rows; or squared and absolute errors).
Sums are float64 whatever the dtype of the outputs, and are taken row after row, so they do not depend on threads.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from dropout_service.kernels.codegen.compile_cache import jit, warms

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "LOG_VARIANCE_FLOOR",
    "binary_cross_entropy",
    "gaussian_nll",
    "softmax_cross_entropy",
    "squared_error",
]

LOG_VARIANCE_FLOOR = math.log(1e-6)
"""Below this the Gaussian likelihood no longer rewards a smaller variance, so a perfect fit cannot diverge."""

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


@jit
def softmax_cross_entropy(
    logits: NDArray[np.floating],
    labels: NDArray[np.int64],
    grad: NDArray[np.floating],
    sums: NDArray[np.float64],
) -> None:
    """-log softmax(logits)[label]; logits (rows, classes), labels (rows,). The gradient is (softmax - one-hot) / rows.

    A tie of the largest logits counts as its first class, as ``argmax`` has it.
    """
    rows, classes = logits.shape
    loss = 0.0
    correct = 0
    for i in range(rows):
        top = 0
        for k in range(1, classes):
            if logits[i, k] > logits[i, top]:
                top = k
        highest = np.float64(logits[i, top])
        total = 0.0
        for k in range(classes):
            # exp once: the buffer holds the unnormalised probability until the total is known
            e = math.exp(np.float64(logits[i, k]) - highest)
            grad[i, k] = e
            total += e
        for k in range(classes):
            grad[i, k] = grad[i, k] / (total * rows)
        label = labels[i]
        grad[i, label] -= 1.0 / rows
        loss += math.log(total) - (np.float64(logits[i, label]) - highest)
        correct += top == label
    sums[0] += loss
    sums[1] += correct


@jit
def binary_cross_entropy(
    logits: NDArray[np.floating],
    labels: NDArray[np.int64],
    grad: NDArray[np.floating],
    sums: NDArray[np.float64],
) -> None:
    """log(1 + exp(-z)) for label 1, log(1 + exp(z)) for label 0; logits (rows, 1), labels (rows,) of 0 and 1."""
    rows = logits.shape[0]
    loss = 0.0
    correct = 0
    for i in range(rows):
        z = np.float64(logits[i, 0])
        label = labels[i]
        small = math.exp(-abs(z))
        loss += max(z, 0.0) - z * label + math.log1p(small)
        probability = (1.0 if z >= 0 else small) / (1.0 + small)
        grad[i, 0] = (probability - label) / rows
        correct += (z > 0) == (label == 1)
    sums[0] += loss
    sums[1] += correct


@jit
def squared_error(
    outputs: NDArray[np.floating],
    targets: NDArray[np.floating],
    grad: NDArray[np.floating],
    sums: NDArray[np.float64],
) -> None:
    """(output - target)^2; outputs (rows, 1), targets (rows,)."""
    rows = outputs.shape[0]
    squares = 0.0
    absolutes = 0.0
    for i in range(rows):
        error = np.float64(outputs[i, 0]) - np.float64(targets[i])
        grad[i, 0] = 2.0 * error / rows
        squares += error * error
        absolutes += abs(error)
    sums[0] += squares
    sums[1] += squares
    sums[2] += absolutes


@jit
def gaussian_nll(
    outputs: NDArray[np.floating],
    targets: NDArray[np.floating],
    grad: NDArray[np.floating],
    sums: NDArray[np.float64],
) -> None:
    """-log N(target; m, exp(s)) = (s + (target - m)^2 exp(-s) + log 2 pi) / 2; outputs (rows, 2) hold m and s.

    The log-variance s is floored at ``LOG_VARIANCE_FLOOR``.
    """
    rows = outputs.shape[0]
    loss = 0.0
    squares = 0.0
    absolutes = 0.0
    for i in range(rows):
        error = np.float64(outputs[i, 0]) - np.float64(targets[i])
        s = np.float64(outputs[i, 1])
        floored = s < LOG_VARIANCE_FLOOR
        if floored:
            s = LOG_VARIANCE_FLOOR
        precision = math.exp(-s)
        loss += 0.5 * (s + error * error * precision) + _HALF_LOG_2PI
        grad[i, 0] = error * precision / rows
        grad[i, 1] = 0.0 if floored else 0.5 * (1.0 - error * error * precision) / rows
        squares += error * error
        absolutes += abs(error)
    sums[0] += loss
    sums[1] += squares
    sums[2] += absolutes


@warms
def _warm() -> None:
    sums = np.zeros(3)
    labels = np.zeros(1, np.int64)
    for dtype in (np.float32, np.float64):
        outputs, grad, values = np.zeros((1, 2), dtype), np.zeros((1, 2), dtype), np.zeros(1, dtype)
        softmax_cross_entropy(outputs, labels, grad, sums)
        gaussian_nll(outputs, values, grad, sums)
        one, one_grad = np.zeros((1, 1), dtype), np.zeros((1, 1), dtype)
        binary_cross_entropy(one, labels, one_grad, sums)
        squared_error(one, values, one_grad, sums)
