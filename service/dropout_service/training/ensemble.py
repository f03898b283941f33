"""Several networks as one: their figures together, their arrays, and the figures of their mean."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dropout_service.training.metrics import summarize
from dropout_service.training.networks import EVALUATION_ROWS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from dropout_service.nn.losses import Loss
    from dropout_service.training.metrics import EpochMetrics
    from dropout_service.training.preparation import PreparedData
    from dropout_service.training.trained import TrainedModel

__all__ = ["stacked", "together", "validation_of_mean"]


def together(metrics: Sequence[EpochMetrics]) -> EpochMetrics:
    """Return the figures of several networks as one record: their means, of the furthest epoch.

    ``best_epoch`` is the latest that any of them keeps.
    """
    if len(metrics) == 1:
        return metrics[0]
    furthest = max(metrics, key=lambda one: one.epoch)
    validations = [one.validation for one in metrics if one.validation is not None]
    rates = [one.dropout_rates for one in metrics if one.dropout_rates is not None]
    input_rates = [one.input_dropout_rate for one in metrics if one.input_dropout_rate is not None]
    best = [one.best_epoch for one in metrics if one.best_epoch is not None]
    return replace(
        furthest,
        train=_mean([one.train for one in metrics]),
        validation=_mean(validations) if validations else None,
        best_epoch=max(best, default=None),
        dropout_rates=tuple(np.mean(rates, axis=0).tolist()) if rates else None,
        input_dropout_rate=float(np.mean(input_rates)) if input_rates else None,
    )


def stacked(members: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[np.float32]]:
    """Return the arrays of several networks by name, float32, each with an axis of networks; of one, its own."""
    if len(members) == 1:
        return {name: array.astype(np.float32) for name, array in members[0].items()}
    return {name: np.stack([arrays[name] for arrays in members]).astype(np.float32) for name in members[0]}


def validation_of_mean(model: TrainedModel, rows: PreparedData, loss: Loss, own_y: NDArray[Any]) -> dict[str, float]:
    """Return the metrics of the validation part of what an ensemble predicts.

    That is the mean of its probabilities, or of its outputs in a regression.

    Parameters
    ----------
    model
        The ensemble.
    rows
        What it was trained on, with at least one row to validate on.
    loss
        What is reported.
    own_y
        The targets of the validation part in their own unit.
    """
    networks = list(model.networks())
    weight = float(rows.weights_validation.sum()) if rows.weights_validation.size else None
    sums, targets = loss.sums, model.targets
    errors, begin = np.zeros(len(sums) - 1), 0
    for x, y, factors in rows.validation_blocks(EVALUATION_ROWS):
        passes = (network.forward(x) for network in networks)
        if loss.task == "classification":
            probabilities = model.head.figures(passes, sampled=False)["probabilities"]
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


def _mean(figures: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([one[name] for one in figures])) for name in figures[0]}
