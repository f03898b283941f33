"""``Program``: a network, its loss and its optimizer laid out for steps that are taken in one compiled call."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dropout_service.kernels.codegen.keystream import GROUP_ELEMENTS, GROUP_LANES
from dropout_service.kernels.dropout.standard import scale, threshold
from dropout_service.kernels.training import steps
from dropout_service.kernels.training.layout import FIELDS, Field, Kind
from dropout_service.kernels.training.products import ROOM_BYTES
from dropout_service.kernels.training.program import NARROW
from dropout_service.nn.layers.dropout import Dropout
from dropout_service.nn.mode import Mode
from dropout_service.nn.optimizers import SGD, Adam

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dropout_service.nn.losses import Loss
    from dropout_service.nn.network import Network
    from dropout_service.nn.optimizers import Optimizer
    from dropout_service.nn.step_plan import StepPlan

__all__ = ["Program", "can_compile"]

LARGEST_WEIGHT: Final = 1 << 18
"""Elements of a matrix up to which compiled products are about as fast as those of a BLAS library, or faster."""


def can_compile(network: Network) -> bool:
    """Whether the steps of a network can be taken in compiled calls: a function of its layers alone.

    It is no question of the machine, so that a training that is resumed elsewhere goes on as it began.
    """
    shapes = (shape for layer in network.layers for shape in layer.shapes.values())
    small = all(math.prod(shape) <= LARGEST_WEIGHT for shape in shapes)
    return small and network.parameters.values.dtype == np.float32 and all(layer.compiled() for layer in network.layers)


class Program:
    """Steps of the training of a network, several in one call.

    What a step computes is what the layers' own passes compute, up to rounding.

    Parameters
    ----------
    network, loss, optimizer, plan
        As for ``stepping.make_steps``; the network is one that `can_compile` takes.
    """

    one_threaded = True

    def __init__(self, network: Network, loss: Loss, optimizer: Optimizer, plan: StepPlan) -> None:
        self._network, self._loss, self._plan = network, loss, plan
        self._dropouts = [layer.dropout for layer in network.layers if isinstance(layer.dropout, Dropout)]
        self._places_of_scheduled = [place for place, one in enumerate(self._dropouts) if one in plan.scheduled]
        rows, inputs = plan.batch_rows, plan.x.shape[1]
        self._table, self._lists, lowest, lanes, values = _laid_out(network, rows)
        widest = max(inputs, *self._table[:, Field.UNITS].tolist())
        dense = self._table[self._table[:, Field.KIND] == Kind.DENSE]
        weights = dense[:, Field.INPUTS] * dense[:, Field.UNITS]
        narrow = rows * (dense[:, Field.INPUTS] + dense[:, Field.UNITS])[dense[:, Field.UNITS] <= NARROW]
        largest = max(*weights.tolist(), *narrow.tolist())
        sizes = [rows * inputs, rows * widest, rows * widest, largest]
        batch, grad, other, turned = (values + sum(sizes[:i]) for i in range(4))
        self._places = np.array([lowest, batch, grad, other, turned])
        self._work = np.zeros(values + sum(sizes), np.float32)
        self._lanes = np.zeros(lanes, np.uint64)
        self._room = np.zeros(ROOM_BYTES, np.uint8)
        self._doubles = np.zeros(max(rows, widest))
        self._constant = np.zeros((0, 0), np.int64), np.zeros((0, 0))
        self._labels = np.zeros(rows, np.int64)
        self._values = np.zeros((rows, loss.head.targets), np.float32)
        self._number = steps.LOSSES[loss.kernel]
        self._loss_options = np.hstack([*loss.options, 0.0]).astype(np.float64)
        self._optimizer, self._options, self._state = _described(optimizer, plan)

    def take(
        self,
        order: NDArray[np.int64],
        learning_rates: NDArray[np.float64],
        rates: NDArray[np.float64],
        *,
        sums: NDArray[np.float64],
        step: int,
    ) -> int:
        """Take a step for each of ``learning_rates``, see ``stepping.Steps.take``."""
        thresholds, scales = self._in_force(rates)
        plan, vector = self._plan, self._network.parameters
        classes = self._loss.task == "classification"
        return steps.take_steps(
            self._table,
            self._lists,
            self._places,
            plan.x,
            plan.y if classes else self._labels,
            self._values[:0] if classes else plan.y,
            plan.weights,
            order,
            plan.batch_rows,
            vector.values,
            vector.grads,
            *self._state,
            self._network.buffers.values,
            self._work,
            self._lanes,
            self._room,
            self._doubles,
            self._labels,
            self._values,
            sums,
            self._number,
            self._loss_options,
            self._optimizer,
            self._options,
            learning_rates,
            thresholds,
            scales,
            vector.weight_count,
            plan.seed,
            step,
        )

    def _in_force(self, rates: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return thresholds and scales of all dropouts, each (steps, dropouts), given the rates of those scheduled."""
        steps = len(rates)
        if steps > len(self._constant[0]):
            self._constant = (
                np.tile(np.array([one.threshold for one in self._dropouts], np.int64), (steps, 1)),
                np.tile(np.array([one.scale for one in self._dropouts], np.float64), (steps, 1)),
            )
        thresholds, scales = self._constant[0][:steps], self._constant[1][:steps]
        for column, place in enumerate(self._places_of_scheduled):
            thresholds[:, place] = [threshold(rate) for rate in rates[:, column].tolist()]
            scales[:, place] = [scale(rate) for rate in rates[:, column].tolist()]
        return thresholds, scales


def _laid_out(network: Network, rows: int) -> tuple[NDArray[np.int64], NDArray[np.int64], int, int, int]:
    """Return the table of a network with its lists, its lowest row with parameters, and the sizes of draws and values.

    The sizes are of mini-batches of so many ``rows``.
    """
    described = [(number, row) for number, layer in enumerate(network.layers) for row in layer.compiled()]
    table = np.zeros((len(described), FIELDS), np.int64)
    places = network.parameters.offsets | network.buffers.offsets
    lists: list[int] = []
    lanes = values = dropped = 0
    for row, (number, one) in zip(table, described, strict=True):
        layer = network.layers[number]
        for field, value in one.fields.items():
            row[field] = value
        for field, name in one.arrays.items():
            row[field] = places[f"layers.{number}.{name}"]
        row[Field.LIST] = len(lists)
        lists += one.columns
        row[Field.STREAM] = Mode.training(0, 0).offset(number)
        row[Field.DROPOUT] = -1
        if isinstance(layer.dropout, Dropout):
            row[Field.DROPOUT], dropped = dropped, dropped + 1
            row[Field.LANES] = lanes
            lanes += -(-rows * layer.units // GROUP_ELEMENTS) * GROUP_LANES
        units = int(row[Field.UNITS])
        inner = int(row[Field.INPUTS] * row[Field.WIDTH]) if row[Field.KIND] == Kind.PIECEWISE_LINEAR else units
        for field, columns in ((Field.VALUE, units), (Field.DERIVATIVE, units), (Field.INNER, inner)):
            row[field] = values
            values += rows * columns
    lowest = next(i for i, (_, one) in enumerate(described) if Field.WEIGHT in one.arrays)
    return table, np.array(lists, np.int64), lowest, lanes, values


def _described(
    optimizer: Optimizer, plan: StepPlan
) -> tuple[int, NDArray[np.float64], tuple[NDArray[Any], NDArray[Any]]]:
    """Return number, options and state of an optimizer, as the compiled steps take them."""
    bounds = plan.clip_norm or 0.0, plan.max_norm or 0.0
    if isinstance(optimizer, Adam):
        decay = (0.0, optimizer.weight_decay) if optimizer.decoupled else (optimizer.weight_decay, 0.0)
        options = (*bounds, optimizer.beta1, optimizer.beta2, optimizer.epsilon, *decay)
        return steps.ADAM, np.array(options), (optimizer.state["mean"], optimizer.state["variance"])
    if not isinstance(optimizer, SGD):
        raise TypeError(f"{type(optimizer).__name__} has no compiled form")
    options = (*bounds, optimizer.momentum, float(optimizer.nesterov), 0.0, optimizer.weight_decay, 0.0)
    velocity = optimizer.state["velocity"]
    return steps.SGD, np.array(options), (velocity, velocity[:0])
