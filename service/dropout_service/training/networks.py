"""From the specification to the objects of ``nn``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dropout_service.errors import FieldError, InvalidInputError
from dropout_service.nn.layers.columns import COLUMNS
from dropout_service.nn.layers.dense import Dense
from dropout_service.nn.layers.placement import BRANCHES
from dropout_service.nn.layers.rules import DropoutRule, LayerRule
from dropout_service.nn.losses import LossOptions, make_loss
from dropout_service.nn.network import Network, buffer_shapes, make_layers, mlp_rules, parameter_shapes
from dropout_service.nn.optimizers import OPTIMIZERS
from dropout_service.nn.rate_schedules import RATE_SCHEDULES
from dropout_service.nn.schedules import SCHEDULES, warm_up
from dropout_service.nn.shared_network import SharedNetwork
from dropout_service.nn.sharing import Sharing
from dropout_service.training.spec import DropoutSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dropout_service.nn.layers.base import DropoutLayer, Layer
    from dropout_service.nn.losses import Loss
    from dropout_service.nn.optimizers import Optimizer
    from dropout_service.nn.rate_schedules import RateSchedule
    from dropout_service.nn.schedules import Schedule
    from dropout_service.training.spec import ModelSpec, TrainingSpec

__all__ = [
    "EVALUATION_ROWS",
    "build_layers",
    "build_loss",
    "build_network",
    "build_optimizer",
    "build_rate_schedules",
    "build_schedule",
    "hidden_dropouts",
    "kept_shapes",
    "output_units",
    "resolve_loss",
]

_BINARY = 2

EVALUATION_ROWS = 1024
"""Rows of a validation pass: large enough for the matrix products, small enough for the cache."""


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


def build_loss(spec: TrainingSpec, name: str, targets: int = 1) -> Loss:
    """Return the loss of a specification.

    Parameters
    ----------
    spec
        The training.
    name
        Its loss, with ``auto`` decided.
    targets
        How many targets a regression has.
    """
    return make_loss(name, LossOptions(spec.label_smoothing, spec.huber_delta, spec.quantiles, targets))


def output_units(loss: Loss, classes: int | None) -> int:
    """Return the units of the output layer."""
    if loss.outputs is not None:
        return loss.outputs
    if classes is None:
        raise ValueError(f"a loss of the head {loss.head.name} needs classes")
    return classes


def _layer_rules(model: ModelSpec) -> tuple[LayerRule, ...]:
    """Return the layers that a specification asks for, without the output layer; `hidden` is written out.

    Faults of a rule are told with pointers into the model.
    """
    inputs = _dropout_rule(model.input_dropout) if _active(model.input_dropout) else None
    if model.layers is None:
        return mlp_rules(
            model.hidden,
            activation=model.activation,
            dropouts=[_dropout_rule(dropout) for dropout in hidden_dropouts(model)],
            input_dropout=inputs,
            residual=model.residual,
        )
    rules = mlp_rules((), dropouts=(), input_dropout=inputs)
    return rules + tuple(
        LayerRule(layer.kind, layer.parameters, _dropout_rule(layer.dropout), f"/layers/{i}", f"/layers/{i}/dropout")
        for i, layer in enumerate(model.layers)
    )


def build_layers(model: ModelSpec, inputs: int | Sequence[int], outputs: int) -> tuple[Layer, ...]:
    """Return the layers that a specification describes; they take no memory yet.

    Parameters
    ----------
    model
        The network.
    inputs
        The columns that it reads: how many, if all are numbers, or what each of them is, see
        ``ColumnEncoder.cardinalities``.
    outputs
        Units of its output layer.

    Raises
    ------
    InvalidInputError
        A layer that is not in the registry, a dropout that does not fit it, one that members which share weights
        cannot have, or none that reads codes where there are some, with a pointer into the model.
    """
    reads_codes = model.layers and model.layers[0].kind == COLUMNS.name
    if not isinstance(inputs, int) and any(codes > 1 for codes in inputs) and not reads_codes:
        message = (
            "a column is of the kind `code`: begin `layers` with a layer `columns`, which embeds it, or use it as "
        )
        raise InvalidInputError.at("/hidden" if model.layers is None else "/layers", f"{message}a `category`")
    try:
        layers = make_layers(inputs, _layer_rules(model), outputs)
    except InvalidInputError as error:
        if isinstance(model.dropout, tuple):
            raise
        errors = [_of_all_layers(fault) for fault in error.errors]
        raise InvalidInputError(errors[0].message, errors=errors) from error
    if model.shares:
        _check_sharing(model, layers)
    return layers


def _check_sharing(model: ModelSpec, layers: Sequence[Layer]) -> None:
    """Refuse what members that share weights cannot have."""
    if not any(isinstance(layer, Dense) for layer in layers[:-1]):
        message = "there is no hidden dense layer whose weights could be shared; add one, or leave `share` out"
        raise InvalidInputError.at("/ensemble/share", message)
    given = model.layers or ()
    for number, layer in enumerate(layers[len(layers) - 1 - len(given) : -1]):
        if layer.batch_statistics:
            kind = layer.description["kind"]
            message = (
                f"`{kind}` keeps moments of the rows, which differ between members that share weights; use "
                "`layer_norm`, or leave `share` out"
            )
            raise InvalidInputError.at(f"/layers/{number}/kind", message)


def kept_shapes(model: ModelSpec, layers: Sequence[Layer]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all that a model keeps, by name: parameters and buffers.

    Parameters
    ----------
    model, layers
        Its specification, and the layers of one of its networks.

    Returns
    -------
    shapes
        Of several networks each has an axis of networks first; where they share weights, see ``Sharing``.
    """
    if model.shares:
        return Sharing(layers, model.members).shapes | buffer_shapes(layers)
    shapes = parameter_shapes(layers) | buffer_shapes(layers)
    return {name: (model.members, *shape) for name, shape in shapes.items()} if model.members > 1 else shapes


def hidden_dropouts(model: ModelSpec) -> tuple[float | DropoutSpec, ...]:
    """Return the dropout of each layer but the output layer.

    One `drop_path` for all is for the layers that have a connection around them: not for the first of several.
    """
    if model.layers is not None:
        return tuple(layer.dropout for layer in model.layers)
    if isinstance(model.dropout, tuple):
        return model.dropout
    several = len(model.hidden) > 1
    spared = several and isinstance(model.dropout, DropoutSpec) and model.dropout.variant in BRANCHES
    return tuple(0.0 if spared and layer == 0 else model.dropout for layer in range(len(model.hidden)))


def _of_all_layers(fault: FieldError) -> FieldError:
    """Return a fault of a dropout that all layers share: with the pointer of that dropout, and the layer in words."""
    _, place, *below = fault.pointer.split("/")
    if place != "dropout":
        return fault
    return FieldError("/".join(["", place, *below[1:]]), f"hidden layer {int(below[0]) + 1}: {fault.message}")


def build_network(spec: TrainingSpec, inputs: int | Sequence[int], outputs: int) -> Network | SharedNetwork:
    """Return the network that a specification describes, its parameters all 0.

    Of an ensemble it is one of its networks, or all of them where they share weights.

    Raises
    ------
    InvalidInputError
        As ``build_layers``, with pointers into the specification.
    """
    try:
        layers = build_layers(spec.model, inputs, outputs)
    except InvalidInputError as error:
        raise error.within("/model") from error
    return SharedNetwork(layers, spec.model.members) if spec.model.shares else Network(layers)


def _dropout_rule(dropout: float | DropoutSpec) -> DropoutRule:
    """Return what is dropped, by the forms of a specification."""
    if isinstance(dropout, DropoutSpec):
        return DropoutRule(dropout.rate, dropout.variant, dropout.shape, dropout.parameters)
    return DropoutRule(dropout)


def _active(dropout: float | DropoutSpec) -> bool:
    return dropout.active if isinstance(dropout, DropoutSpec) else dropout > 0


def build_rate_schedules(
    spec: TrainingSpec, network: Network | SharedNetwork
) -> list[tuple[DropoutLayer, RateSchedule]]:
    """Return the dropouts of a network whose rate is scheduled, each with its rate as a function of time in epochs."""
    specs = hidden_dropouts(spec.model)
    if _active(spec.model.input_dropout):
        specs = (spec.model.input_dropout, *specs)
    return [
        (layer.dropout, _rate_schedule(one, spec.epochs))
        for one, layer in zip(specs, network.layers[:-1], strict=True)
        if isinstance(one, DropoutSpec) and one.schedule is not None and layer.dropout is not None
    ]


def _rate_schedule(dropout: DropoutSpec, epochs: int) -> RateSchedule:
    options = {} if dropout.schedule is None else dropout.schedule.model_dump()
    return RATE_SCHEDULES[options.pop("kind", "constant")](dropout.rate, epochs=epochs, **options)


def build_optimizer(spec: TrainingSpec, network: Network | SharedNetwork) -> Optimizer:
    """Return the optimizer of a specification for a network's parameters."""
    options = spec.optimizer.model_dump(exclude={"kind", "learning_rate"})
    return OPTIMIZERS[spec.optimizer.kind](network.parameters, **options)


def build_schedule(spec: TrainingSpec, steps_per_epoch: int) -> Schedule:
    """Return the schedule of a specification: from training time in epochs to a factor of the learning rate."""
    warmup = spec.schedule.warmup_epochs
    options = spec.schedule.model_dump(exclude={"kind", "warmup_epochs"})
    schedule = SCHEDULES[spec.schedule.kind](epochs=spec.epochs - warmup, **options)
    return warm_up(schedule, epochs=warmup, step_size=1 / steps_per_epoch)
