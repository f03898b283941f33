"""``check_spec``: whether the parts of a specification fit together, are in the registries, and suit the data."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from dropout_service.errors import FieldError, InvalidInputError
from dropout_service.kernels.variants import VARIANTS
from dropout_service.nn.network import buffer_shapes, parameter_shapes
from dropout_service.nn.shared_program import GROUP
from dropout_service.training.networks import EVALUATION_ROWS, build_layers, kept_shapes
from dropout_service.training.spec import DropoutSpec
from dropout_service.training.spec.dropout import LinearRate
from dropout_service.training.spec.published import NETWORK_KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dropout_service.budgets import Budgets
    from dropout_service.nn.layers.base import Layer
    from dropout_service.training.spec import ModelSpec, TrainingSpec

__all__ = ["check_size", "check_spec"]


def check_spec(spec: TrainingSpec, inputs: int | Sequence[int]) -> None:
    """Check a specification, whose schema found nothing wrong with it, against the registries and the data.

    It is asked where a training is submitted and where a model is loaded.

    Parameters
    ----------
    spec
        What a person asks for.
    inputs
        The columns that the network reads, see ``networks.build_layers``.

    Raises
    ------
    InvalidInputError
        A variant of dropout or a kind of layer that there is not; a parameter that it does not have, or out of its
        range; a layout that is not one of so many units; mini-batches of one row where statistics of several are taken;
        a layer that members which share weights cannot have; with pointers into the specification.
    """
    faults = [fault for pointer, dropout in _dropouts(spec.model) for fault in _faults(dropout, pointer)]
    if not faults:
        try:
            layers = build_layers(spec.model, inputs, 1)
        except InvalidInputError as error:
            faults = list(error.errors)
        else:
            _check_batches(spec, layers)
    if faults:
        raise InvalidInputError(faults[0].message, errors=faults).within("/model")


def check_size(spec: TrainingSpec, *, inputs: int | Sequence[int], outputs: int, rows: int, budgets: Budgets) -> None:
    """Check what a training would allocate, before it does.

    Parameters
    ----------
    spec
        A specification that `check_spec` found nothing wrong with.
    inputs
        The columns that the network reads, see ``networks.build_layers``.
    outputs
        Units of its output layer.
    rows
        Rows of the data.
    budgets
        Bounds of its parameters and of a pass.

    Raises
    ------
    OverBudgetError
        It is too large.
    """
    layers = build_layers(spec.model, inputs, outputs)
    place = "/model/hidden" if spec.model.layers is None else "/model/layers"
    members = passes = spec.model.members
    parameters = sum(math.prod(shape) for shape in kept_shapes(spec.model, layers).values())
    if spec.model.shares:
        groups = -(-members // GROUP)
        passes = min(spec.threads, groups)
        # And of the network that they take turns as: on each thread, and the gradients of each group
        plain = {**parameter_shapes(layers), **buffer_shapes(layers)}
        parameters += (passes + groups) * sum(math.prod(shape) for shape in plain.values())
    fewer = "give fewer or smaller hidden layers" + (", or fewer members" if members > 1 else "")
    budgets.check("parameters", parameters, pointer=place, remedy=fewer)
    rows = max(min(spec.batch_size, rows), EVALUATION_ROWS)
    pointer = "/batch_size" if rows > EVALUATION_ROWS else place
    budgets.check("activations", passes * rows * sum(layer.activations for layer in layers), pointer=pointer)


def _check_batches(spec: TrainingSpec, layers: Sequence[Layer]) -> None:
    number = next((number for number, layer in enumerate(layers) if layer.batch_statistics), None)
    if number is not None and spec.batch_size == 1:
        kind = layers[number].description["kind"]
        raise InvalidInputError.at(
            "/batch_size", f"`{kind}` takes the deviation of a mini-batch, and one row has none; give 2 or more"
        )


def _dropouts(model: ModelSpec) -> Iterator[tuple[str, DropoutSpec]]:
    """Yield the dropouts that are given as objects, each with its place in the model."""
    places = [("/dropout", model.dropout), ("/input_dropout", model.input_dropout)]
    if isinstance(model.dropout, tuple):
        places[:1] = [(f"/dropout/{i}", dropout) for i, dropout in enumerate(model.dropout)]
    places += [(f"/layers/{i}/dropout", layer.dropout) for i, layer in enumerate(model.layers or ())]
    yield from ((pointer, dropout) for pointer, dropout in places if isinstance(dropout, DropoutSpec))


def _faults(dropout: DropoutSpec, pointer: str) -> tuple[FieldError, ...]:
    try:
        _check_dropout(dropout)
    except InvalidInputError as error:
        return error.within(pointer).errors
    return ()


def _check_dropout(dropout: DropoutSpec) -> None:
    variant = VARIANTS.get(dropout.variant)
    if variant is None:
        raise InvalidInputError.at("", f"there is no variant `{dropout.variant}`; there are {', '.join(VARIANTS)}")
    for parameter in variant.parameters:
        if parameter.kind not in NETWORK_KINDS and parameter.name in dropout.parameters:
            message = f"`{parameter.name}` is for single arrays; a network has `shape` and the other variants"
            raise InvalidInputError.at("", message)
    if variant.needs_x and dropout.schedule is not None:
        raise InvalidInputError.at("", f"`{dropout.variant}` learns its rate; leave `schedule` out")
    variant.checked_parameters(dropout.parameters)
    variant.rate.checked(dropout.rate)
    if isinstance(dropout.schedule, LinearRate):
        try:
            variant.rate.checked(dropout.schedule.start)
        except InvalidInputError as error:
            raise InvalidInputError.at("/schedule/start", error.message) from error
