"""``Program``: a network, its loss and its optimizer laid out for steps that are taken in one compiled call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dropout_service.kernels.dropout.standard import scale, threshold
from dropout_service.kernels.training import steps
from dropout_service.nn.layout import Layout
from dropout_service.nn.optimizers import SGD, Adam

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dropout_service.nn.losses import Loss
    from dropout_service.nn.network import Network
    from dropout_service.nn.optimizers import Optimizer
    from dropout_service.nn.step_plan import StepPlan

__all__ = ["Program"]


class Program:
    """Steps of the training of a network, several in one call.

    What a step computes is what the layers' own passes compute, up to rounding.

    Parameters
    ----------
    network, loss, optimizer, plan
        As for ``stepping.make_steps``; the network is one that ``can_compile`` takes.
    """

    one_threaded = True

    def __init__(self, network: Network, loss: Loss, optimizer: Optimizer, plan: StepPlan) -> None:
        self._network, self._loss, self._plan = network, loss, plan
        layout = self._layout = Layout(network, plan.batch_rows)
        self._places_of_scheduled = [place for place, one in enumerate(layout.dropouts) if one in plan.scheduled]
        self._constant = np.zeros((0, 0), np.int64), np.zeros((0, 0))
        self._labels = np.zeros(plan.batch_rows, np.int64)
        self._values = np.zeros((plan.batch_rows, loss.head.targets), np.float32)
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
        plan, layout, vector = self._plan, self._layout, self._network.parameters
        classes = self._loss.task == "classification"
        return steps.take_steps(
            layout.table,
            layout.lists,
            layout.places,
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
            layout.work,
            layout.lanes,
            layout.room,
            layout.doubles,
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
                np.tile(np.array([one.threshold for one in self._layout.dropouts], np.int64), (steps, 1)),
                np.tile(np.array([one.scale for one in self._layout.dropouts], np.float64), (steps, 1)),
            )
        thresholds, scales = self._constant[0][:steps], self._constant[1][:steps]
        for column, place in enumerate(self._places_of_scheduled):
            thresholds[:, place] = [threshold(rate) for rate in rates[:, column].tolist()]
            scales[:, place] = [scale(rate) for rate in rates[:, column].tolist()]
        return thresholds, scales


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
