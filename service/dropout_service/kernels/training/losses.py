"""Losses with their gradients, one pass over the rows each.

Every kernel writes the gradient of the *mean* loss over the rows into ``grad`` and adds the *sums* over the rows to
``sums``: the loss first, then what the metrics need (correctly classified rows; or squared errors of each target, and
then absolute ones). Sums are float64 whatever the dtype of the outputs, and are taken row after row, so they do not
depend on threads.

``weights`` has a factor for the loss of each row, float64, or no elements: all 1. The mean is that over the rows all
the same: who weights sees to it that the factors are 1 on average. What the metrics need is not weighted.

The loss of a row of several targets is the mean over them; their outputs stand one behind another.
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
    Labels = NDArray[np.int64]

__all__ = [
    "LOG_VARIANCE_FLOOR",
    "binary_cross_entropy",
    "gaussian_nll",
    "huber",
    "pinball",
    "softmax_cross_entropy",
    "squared_error",
]

LOG_VARIANCE_FLOOR = math.log(1e-6)
"""Below this the Gaussian likelihood no longer rewards a smaller variance, so a perfect fit cannot diverge."""

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


@jit
def softmax_cross_entropy(  # noqa: PLR0917 - a compiled kernel takes its arguments by position
    logits: Floats, labels: Labels, grad: Floats, sums: Doubles, weights: Doubles, smoothing: float
) -> None:
    """-log softmax(logits)[label]; logits (rows, classes), labels (rows,). The gradient is (softmax - one-hot) / rows.

    With ``smoothing`` the target is not one-hot: each class has smoothing / classes of it, and the label the rest as
    well (Szegedy et al. 2016). A tie of the largest logits counts as its first class, as ``argmax`` has it.
    """
    rows, classes = logits.shape
    weighted = weights.size > 0
    share = smoothing / classes
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
        grad[i, label] -= (1.0 - smoothing) / rows
        surprise = math.log(total) - (np.float64(logits[i, label]) - highest)
        if smoothing > 0:
            everywhere = 0.0
            for k in range(classes):
                grad[i, k] -= share / rows
                everywhere += math.log(total) - (np.float64(logits[i, k]) - highest)
            surprise = (1.0 - smoothing) * surprise + share * everywhere
        if weighted:
            for k in range(classes):
                grad[i, k] = grad[i, k] * weights[i]
            surprise *= weights[i]
        loss += surprise
        correct += top == label
    sums[0] += loss
    sums[1] += correct


@jit
def binary_cross_entropy(  # noqa: PLR0917 - as above
    logits: Floats, labels: Labels, grad: Floats, sums: Doubles, weights: Doubles, smoothing: float
) -> None:
    """log(1 + exp(-z)) for label 1, log(1 + exp(z)) for label 0; logits (rows, 1), labels (rows,) of 0 and 1.

    With ``smoothing`` the target is 1 - smoothing / 2 for label 1 and smoothing / 2 for label 0.
    """
    rows = logits.shape[0]
    weighted = weights.size > 0
    loss = 0.0
    correct = 0
    for i in range(rows):
        z = np.float64(logits[i, 0])
        label = labels[i]
        target = (1.0 - smoothing) * label + 0.5 * smoothing
        weight = weights[i] if weighted else 1.0
        small = math.exp(-abs(z))
        loss += weight * (max(z, 0.0) - z * target + math.log1p(small))
        probability = (1.0 if z >= 0 else small) / (1.0 + small)
        grad[i, 0] = weight * (probability - target) / rows
        correct += (z > 0) == (label == 1)
    sums[0] += loss
    sums[1] += correct


@jit
def squared_error(outputs: Floats, targets: Floats, grad: Floats, sums: Doubles, weights: Doubles) -> None:
    """(output - target)^2; outputs and targets (rows, targets)."""
    rows, count = targets.shape
    weighted = weights.size > 0
    for t in range(count):
        loss = 0.0
        squares = 0.0
        absolutes = 0.0
        for i in range(rows):
            weight = weights[i] if weighted else 1.0
            error = np.float64(outputs[i, t]) - np.float64(targets[i, t])
            grad[i, t] = weight * 2.0 * error / (rows * count)
            loss += weight * (error * error)
            squares += error * error
            absolutes += abs(error)
        sums[0] += loss / count
        sums[1 + t] += squares
        sums[1 + count + t] += absolutes


@jit
def huber(  # noqa: PLR0917 - as above
    outputs: Floats, targets: Floats, grad: Floats, sums: Doubles, weights: Doubles, delta: float
) -> None:
    """error^2 / 2 up to an absolute error of ``delta``, delta (|error| - delta / 2) beyond; arrays (rows, targets).

    Huber (1964), "Robust estimation of a location parameter".
    """
    rows, count = targets.shape
    weighted = weights.size > 0
    for t in range(count):
        loss = 0.0
        squares = 0.0
        absolutes = 0.0
        for i in range(rows):
            weight = weights[i] if weighted else 1.0
            error = np.float64(outputs[i, t]) - np.float64(targets[i, t])
            clipped = min(max(error, -delta), delta)
            grad[i, t] = weight * clipped / (rows * count)
            loss += weight * clipped * (error - 0.5 * clipped)
            squares += error * error
            absolutes += abs(error)
        sums[0] += loss / count
        sums[1 + t] += squares
        sums[1 + count + t] += absolutes


@jit
def pinball(  # noqa: PLR0917 - as above
    outputs: Floats, targets: Floats, grad: Floats, sums: Doubles, weights: Doubles, levels: Doubles, middle: int
) -> None:
    """Of an error e = target - output: level e above 0, (level - 1) e below, averaged over the levels.

    Koenker and Bassett (1978), "Regression quantiles". Outputs (rows, targets levels), the levels of a target side by
    side; targets (rows, targets). The errors that are summed for the metrics are those of the level number ``middle``.
    """
    rows, count = targets.shape
    weighted = weights.size > 0
    parts = count * levels.size
    for t in range(count):
        loss = 0.0
        squares = 0.0
        absolutes = 0.0
        for i in range(rows):
            weight = weights[i] if weighted else 1.0
            target = np.float64(targets[i, t])
            for q in range(levels.size):
                place = t * levels.size + q
                error = target - np.float64(outputs[i, place])
                slope = levels[q] if error > 0 else (levels[q] - 1.0 if error < 0 else 0.0)
                grad[i, place] = -weight * slope / (rows * parts)
                loss += weight * slope * error
            error = target - np.float64(outputs[i, t * levels.size + middle])
            squares += error * error
            absolutes += abs(error)
        sums[0] += loss / parts
        sums[1 + t] += squares
        sums[1 + count + t] += absolutes


@jit
def gaussian_nll(outputs: Floats, targets: Floats, grad: Floats, sums: Doubles, weights: Doubles) -> None:
    """-log N(target; m, exp(s)) = (s + (target - m)^2 exp(-s) + log 2 pi) / 2; outputs (rows, 2 targets): m, s, m, ...

    The log-variance s is floored at ``LOG_VARIANCE_FLOOR``.
    """
    rows, count = targets.shape
    weighted = weights.size > 0
    for t in range(count):
        loss = 0.0
        squares = 0.0
        absolutes = 0.0
        for i in range(rows):
            weight = weights[i] if weighted else 1.0
            error = np.float64(outputs[i, 2 * t]) - np.float64(targets[i, t])
            s = np.float64(outputs[i, 2 * t + 1])
            floored = s < LOG_VARIANCE_FLOOR
            if floored:
                s = LOG_VARIANCE_FLOOR
            precision = math.exp(-s)
            loss += weight * (0.5 * (s + error * error * precision) + _HALF_LOG_2PI)
            grad[i, 2 * t] = weight * (error * precision) / (rows * count)
            local = 0.0 if floored else 0.5 * (1.0 - error * error * precision)
            grad[i, 2 * t + 1] = weight * local / (rows * count)
            squares += error * error
            absolutes += abs(error)
        sums[0] += loss / count
        sums[1 + t] += squares
        sums[1 + count + t] += absolutes


@warms
def _warm() -> None:
    sums, weights, levels = np.zeros(3), np.zeros(0), np.full(2, 0.5)
    labels = np.zeros(1, np.int64)
    for dtype in (np.float32, np.float64):
        outputs, grad, values = np.zeros((1, 2), dtype), np.zeros((1, 2), dtype), np.zeros((1, 1), dtype)
        softmax_cross_entropy(outputs, labels, grad, sums, weights, 0.0)
        gaussian_nll(outputs, values, grad, sums, weights)
        pinball(outputs, values, grad, sums, weights, levels, 0)
        one, one_grad = np.zeros((1, 1), dtype), np.zeros((1, 1), dtype)
        binary_cross_entropy(one, labels, one_grad, sums, weights, 0.0)
        squared_error(one, values, one_grad, sums, weights)
        huber(one, values, one_grad, sums, weights, 1.0)
