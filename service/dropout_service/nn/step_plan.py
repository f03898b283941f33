"""``StepPlan``: what the steps of a training have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from dropout_service.nn.layers.base import DropoutLayer

__all__ = ["StepPlan"]


@dataclass(frozen=True, slots=True, eq=False)
class StepPlan:
    """What the steps of a training have in common.

    Parameters
    ----------
    x, y, weights
        The rows: as the network reads them, float32 (rows, inputs), C-contiguous; class indices (rows,), int64, or
        values (rows, targets), float32; factors of the losses, float64 (rows,), or no elements.
    batch_rows
        Rows of a mini-batch.
    training_rows
        How many of the rows are trained on, by which penalties of learned rates are weighed.
    seed
        Of the masks.
    scheduled
        The dropouts whose rates are given with each step.
    clip_norm, max_norm
        Bounds of the gradient's norm, and of those of the weights of a unit.
    threads
        How many may compute the members that share weights.
    """

    x: NDArray[np.float32]
    y: NDArray[Any]
    weights: NDArray[np.float64]
    batch_rows: int
    training_rows: int
    seed: int
    scheduled: Sequence[DropoutLayer] = ()
    clip_norm: float | None = None
    max_norm: float | None = None
    threads: int = 1
