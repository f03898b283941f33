"""Validation of what several networks predict together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dropout_service.training.metrics import summarize
from dropout_service.training.networks import EVALUATION_ROWS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from dropout_service.nn.losses import Loss
    from dropout_service.training.preparation import PreparedData
    from dropout_service.training.targets import Targets

__all__ = ["validation_of_mean"]


def validation_of_mean(
    outputs_of: Callable[[NDArray[np.float32]], Iterable[NDArray[np.floating]]],
    rows: PreparedData,
    loss: Loss,
    targets: Targets,
    own_y: NDArray[Any],
) -> dict[str, float]:
    """Return the metrics of the validation part of what an ensemble predicts.

    That is the mean of its probabilities, or of its outputs in a regression.

    Parameters
    ----------
    outputs_of
        Gives the outputs of its networks one by one, each lent until the next.
    rows
        What it is trained on, with at least one row to validate on.
    loss
        What is reported.
    targets
        Their units.
    own_y
        The targets of the validation part in their own unit.
    """
    weight = float(rows.weights_validation.sum()) if rows.weights_validation.size else None
    sums = loss.sums
    errors, begin = np.zeros(len(sums) - 1), 0
    for x, y, factors in rows.validation_blocks(EVALUATION_ROWS):
        passes = outputs_of(x)
        if loss.task == "classification":
            probabilities = loss.head.figures(passes, sampled=False)["probabilities"]
            surprise = -np.log(np.maximum(probabilities[np.arange(len(y)), y], np.finfo(np.float64).tiny))
            sums[0] += (surprise * factors if factors.size else surprise).sum()
            sums[1] += np.count_nonzero(probabilities.argmax(axis=1) == y)
        else:
            outputs = np.stack([one.astype(np.float64) for one in passes]).mean(axis=0)
            loss(np.asarray(outputs), y.reshape(len(y), -1).astype(np.float64), np.empty_like(outputs), sums, factors)
            if targets.curved:
                errors += targets.errors(loss.head, outputs, own_y[begin : begin + len(y)])
                begin += len(y)
    if targets.curved:
        sums[1:] = errors
    return summarize(
        loss.task, sums.tolist(), rows.validation_rows, target_scales=targets.validation_scales, weight=weight
    )
