"""``EpochMetrics``: what an epoch reports."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["EpochMetrics", "summarize"]


@dataclass(frozen=True, slots=True)
class EpochMetrics:
    """The figures of one epoch: a pure function of specification and data, so without any duration.

    Parameters
    ----------
    epoch
        Number of the epoch, from 1.
    epochs
        How many the specification asks for.
    step
        Global number of optimizer steps taken so far.
    learning_rate
        The rate of the epoch's last step.
    train
        ``loss`` and ``accuracy``, or ``loss``, ``rmse`` and ``mae``, over the training part *as it was trained on*:
        with dropout active and while the weights moved. With dropout it is usually worse than ``validation``.
    validation
        The same over the validation part in evaluation mode with the weights at the epoch's end; ``None`` without
        such a part.
    best_epoch
        With early stopping: the epoch whose weights are kept so far.
    dropout_rates
        The dropout rate of each layer but the last at the epoch's last step, or as learned by then. ``None`` in records
        from before rates could move.
    input_dropout_rate
        Likewise that of the inputs.

    Notes
    -----
    ``loss`` is the weighted mean where rows or classes have weights; the other figures count all rows the same.
    ``loss`` is what is minimised, without penalties on parameters (weight decay, what a learned rate costs): for a
    regression it is in units of the standardised target. ``rmse`` and ``mae``
    are in the target's own unit; of several targets there is ``rmse.<name>`` and ``mae.<name>`` for each. With a
    ``target_transform`` they are of the validation part alone: what is summed while training is transformed.
    """

    epoch: int
    epochs: int
    step: int
    learning_rate: float
    train: Mapping[str, float]
    validation: Mapping[str, float] | None
    best_epoch: int | None
    dropout_rates: tuple[float, ...] | None = None
    input_dropout_rate: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        values = asdict(self)
        if self.dropout_rates is not None:
            values["dropout_rates"] = list(self.dropout_rates)
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Build from what ``to_json`` of this version or another gave: figures that are not known here are left out."""
        known = {one.name: values[one.name] for one in fields(cls) if one.name in values}
        if known.get("dropout_rates") is not None:
            known["dropout_rates"] = tuple(known["dropout_rates"])
        return cls(**known)


def summarize(
    task: Literal["classification", "regression"],
    sums: Sequence[float],
    rows: int,
    *,
    target_scales: Mapping[str, float] = MappingProxyType({"": 1.0}),
    weight: float | None = None,
) -> dict[str, float]:
    """Turn the sums of a loss kernel over ``rows`` rows into metrics.

    Parameters
    ----------
    task
        Decides what the sums hold: correct rows, or squared and absolute errors.
    sums
        Loss first, see ``kernels.losses``.
    rows
        How many rows were summed, at least 1.
    target_scales
        The unit of each standardised target, by its name; empty: the sums of errors are left aside.
    weight
        Sum of the factors of the rows' losses; ``None``: as many as there are rows.
    """
    loss = sums[0] / (rows if weight is None else weight)
    if task == "classification":
        return {"loss": loss, "accuracy": sums[1] / rows}
    figures = {"loss": loss}
    several = len(target_scales) > 1
    for place, (name, scale) in enumerate(target_scales.items(), start=1):
        behind = f".{name}" if several else ""
        figures[f"rmse{behind}"] = math.sqrt(sums[place] / rows) * scale
        figures[f"mae{behind}"] = sums[len(target_scales) + place] / rows * scale
    return figures
