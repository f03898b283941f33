"""From the specification to the objects of ``nn``."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from dropout_service.errors import InvalidInputError
from dropout_service.nn.losses import LOSSES
from dropout_service.nn.network import mlp
from dropout_service.nn.optimizers import OPTIMIZERS
from dropout_service.nn.schedules import SCHEDULES, warm_up

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from dropout_service.nn.network import Network
    from dropout_service.nn.optimizers import Optimizer
    from dropout_service.nn.schedules import Schedule
    from dropout_service.training.spec import ModelSpec, TrainingSpec

__all__ = ["build_network", "build_optimizer", "build_schedule", "output_units", "parameter_shapes", "resolve_loss"]

_BINARY = 2


def resolve_loss(spec: TrainingSpec, classes: int | None) -> str:
    """Return the name of the loss, with ``auto`` decided.

    Parameters
    ----------
    spec
        The training.
    classes
        Number of classes; ``None`` for a regression.

    Raises
    ------
    InvalidInputError
        The target does not fit the task or the loss.
    """
    if (spec.task == "classification") != (classes is not None):
        raise InvalidInputError.at("/task", f"the target is not one of a {spec.task}")
    if classes is None:
        return "squared_error" if spec.loss == "auto" else spec.loss
    if classes < _BINARY:
        raise InvalidInputError.at("/data/target", "the target has a single class; a classification needs two or more")
    if spec.loss == "binary_cross_entropy" and classes > _BINARY:
        raise InvalidInputError.at("/loss", f"binary_cross_entropy is for 2 classes, not {classes}; use cross_entropy")
    if spec.loss != "auto":
        return spec.loss
    return "binary_cross_entropy" if classes == _BINARY else "cross_entropy"


def output_units(loss: str, classes: int | None) -> int:
    """Return the units of the output layer."""
    units = LOSSES[loss].outputs
    if units is not None:
        return units
    if classes is None:
        raise ValueError(f"{loss} needs classes")
    return classes


def parameter_shapes(model: ModelSpec, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes that the parameters of ``build_network`` have, without allocating them."""
    first = int(model.input_dropout > 0)
    widths = (inputs, *model.hidden, outputs)
    shapes: dict[str, tuple[int, ...]] = {}
    for i, (fan_in, units) in enumerate(pairwise(widths), start=first):
        shapes[f"layers.{i}.weight"] = (fan_in, units)
        shapes[f"layers.{i}.bias"] = (units,)
    return shapes


def build_network(model: ModelSpec, inputs: int, outputs: int, dtype: DTypeLike = np.float32) -> Network:
    """Return the network that a specification describes, its parameters all 0."""
    return mlp(
        inputs,
        model.hidden,
        outputs,
        activation=model.activation,
        rates=model.hidden_rates,
        input_rate=model.input_dropout,
        dtype=dtype,
    )


def build_optimizer(spec: TrainingSpec, network: Network) -> Optimizer:
    """Return the optimizer of a specification for a network's parameters."""
    options = spec.optimizer.model_dump(exclude={"kind", "learning_rate"})
    return OPTIMIZERS[spec.optimizer.kind](network.parameters, **options)


def build_schedule(spec: TrainingSpec, steps_per_epoch: int) -> Schedule:
    """Return the schedule of a specification: from training time in epochs to a factor of the learning rate."""
    warmup = spec.schedule.warmup_epochs
    options = spec.schedule.model_dump(exclude={"kind", "warmup_epochs"})
    schedule = SCHEDULES[spec.schedule.kind](epochs=spec.epochs - warmup, **options)
    return warm_up(schedule, epochs=warmup, step_size=1 / steps_per_epoch)
