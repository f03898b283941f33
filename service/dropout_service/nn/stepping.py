"""How optimizer steps are taken: in one compiled call where a network allows it, else by the passes of its layers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from dropout_service.kernels.training.optimizer_steps import max_norm
from dropout_service.nn.mode import Mode
from dropout_service.nn.program import Program, can_compile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dropout_service.nn.layers.base import DropoutLayer
    from dropout_service.nn.losses import Loss
    from dropout_service.nn.network import Network
    from dropout_service.nn.optimizers import Optimizer

__all__ = ["LayeredSteps", "Steps", "make_steps"]


class Steps(Protocol):
    """Takes the steps of a training."""

    at_once: bool
    """Whether several steps in a call take less time than one by one."""

    def take(
        self,
        x: NDArray[np.float32],
        y: NDArray[Any],
        weights: NDArray[np.float64],
        order: NDArray[np.int64],
        *,
        learning_rates: NDArray[np.float64],
        rates: NDArray[np.float64],
        sums: NDArray[np.float64],
        seed: int,
        step: int,
    ) -> int:
        """Take a step for each of ``learning_rates``.

        Parameters
        ----------
        x, y, weights
            The training rows: as the network reads them, (rows, inputs); class indices (rows,) or values
            (rows, targets), float32; factors of the losses, or no elements.
        order
            Rows of the mini-batches, one after another; the last may be shorter.
        learning_rates
            Of each step.
        rates
            Of each step the rates of the scheduled dropouts, (steps, scheduled).
        sums
            What the loss adds to.
        seed, step
            Of the masks: the seed of the network, and the number of the first step, from 0.

        Returns
        -------
        int
            How many steps were taken before one whose loss or gradient is not finite; all of them where there is none.
        """
        ...


def make_steps(
    network: Network,
    loss: Loss,
    optimizer: Optimizer,
    *,
    rows: int,
    training_rows: int = 1,
    scheduled: Sequence[DropoutLayer] = (),
    clip_norm: float | None = None,
    max_norm: float | None = None,
) -> Steps:
    """Return what takes the steps of a training.

    Parameters
    ----------
    network, loss, optimizer
        What is trained; parameters, gradients and what the optimizer keeps stay where they are.
    rows
        Rows of a mini-batch.
    training_rows
        Rows of the training part, by which penalties of learned rates are weighed.
    scheduled
        The dropouts whose rates are given with each step.
    clip_norm, max_norm
        Bounds of the gradient's norm, and of those of the weights of a unit.
    """
    options: dict[str, Any] = {"rows": rows, "scheduled": scheduled, "clip_norm": clip_norm, "max_norm": max_norm}
    if can_compile(network):  # which has no penalties
        return Program(network, loss, optimizer, **options)
    return LayeredSteps(network, loss, optimizer, training_rows=training_rows, **options)


class LayeredSteps:
    """Steps by the passes of the layers: any network; see ``make_steps``."""

    at_once = False

    def __init__(
        self,
        network: Network,
        loss: Loss,
        optimizer: Optimizer,
        *,
        rows: int,
        training_rows: int = 1,
        scheduled: Sequence[DropoutLayer] = (),
        clip_norm: float | None = None,
        max_norm: float | None = None,
    ) -> None:
        self._network, self._loss, self._optimizer = network, loss, optimizer
        self._rows, self._training_rows = rows, training_rows
        self._scheduled = scheduled
        self._clip_norm, self._max_norm = clip_norm, max_norm
        self._grad = np.empty((rows, network.layers[-1].units), network.parameters.values.dtype)
        self._norms = np.empty(max(layer.bias.size for layer in network.dense_layers))

    def take(
        self,
        x: NDArray[np.float32],
        y: NDArray[Any],
        weights: NDArray[np.float64],
        order: NDArray[np.int64],
        *,
        learning_rates: NDArray[np.float64],
        rates: NDArray[np.float64],
        sums: NDArray[np.float64],
        seed: int,
        step: int,
    ) -> int:
        """Take a step for each of ``learning_rates``, see ``Steps.take``."""
        network = self._network
        for taken, learning_rate in enumerate(learning_rates.tolist()):
            chosen = order[taken * self._rows : (taken + 1) * self._rows]
            for dropout, rate in zip(self._scheduled, rates[taken].tolist(), strict=True):
                dropout.rate = rate
            grad = self._grad[: len(chosen)]
            with np.errstate(all="ignore"):  # what overflows is found below
                outputs = network.forward(x[chosen], Mode.training(seed, step + taken), differentiable=True)
                self._loss(outputs, y[chosen], grad, sums, weights[chosen] if weights.size else weights)
                network.backward(grad)
                network.regularize(self._training_rows)
                norm = network.parameters.grad_norm()
            if not math.isfinite(sums[0]) or not math.isfinite(norm):
                return taken
            clip = self._clip_norm
            self._optimizer.step(
                network.parameters,
                learning_rate=learning_rate,
                step=step + taken + 1,
                grad_scale=clip / norm if clip is not None and norm > clip else 1.0,
            )
            if self._max_norm is not None:
                for layer in network.dense_layers[:-1]:
                    max_norm(layer.weight, self._max_norm, self._norms[: layer.bias.size])
        return learning_rates.size
