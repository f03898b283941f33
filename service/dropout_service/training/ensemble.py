"""Several networks as one: their figures together, and their arrays."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from dropout_service.training.metrics import EpochMetrics

__all__ = ["stacked", "together"]


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


def _mean(figures: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([one[name] for one in figures])) for name in figures[0]}
