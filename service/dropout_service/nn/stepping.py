"""How optimizer steps are taken: in one compiled call where a network allows it, else by the passes of its layers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from dropout_service.kernels.training.optimizer_steps import max_norm
from dropout_service.nn.layout import can_compile
from dropout_service.nn.mode import Mode
from dropout_service.nn.program import Program
from dropout_service.nn.shared_network import SharedNetwork
from dropout_service.nn.shared_program import SharedProgram, can_compile_members

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dropout_service.nn.losses import Loss
    from dropout_service.nn.network import Network
    from dropout_service.nn.optimizers import Optimizer
    from dropout_service.nn.step_plan import StepPlan

__all__ = ["LayeredSteps", "SharedSteps", "Steps", "make_steps"]


class Steps(Protocol):
    """Takes the steps of a training."""

    one_threaded: bool
    """Whether a step keeps one thread busy at most, whatever a training may use."""

    def take(
        self,
        order: NDArray[np.int64],
        learning_rates: NDArray[np.float64],
        rates: NDArray[np.float64],
        *,
        sums: NDArray[np.float64],
        step: int,
    ) -> int:
        """Take a step for each of ``learning_rates``.

        Parameters
        ----------
        order
            Rows of the mini-batches, one after another; the last may be shorter.
        learning_rates
            Of each step.
        rates
            Of each step the rates of the scheduled dropouts, (steps, scheduled).
        sums
            What the loss adds to.
        step
            Number of the first step, from 0.

        Returns
        -------
        int
            How many steps were taken before one whose loss or gradient is not finite; all of them where there is none.
        """
        ...


def make_steps(network: Network | SharedNetwork, loss: Loss, optimizer: Optimizer, plan: StepPlan) -> Steps:
    """Return what takes the steps of a training.

    Parameters
    ----------
    network, loss, optimizer
        What is trained; parameters, gradients and what the optimizer keeps stay where they are.
    plan
        What all its steps have in common.
    """
    if isinstance(network, SharedNetwork):
        return SharedSteps(network, loss, optimizer, plan)
    return (Program if can_compile(network) else LayeredSteps)(network, loss, optimizer, plan)


class LayeredSteps:
    """Steps by the passes of the layers: any network; see ``make_steps``."""

    one_threaded = False

    def __init__(self, network: Network, loss: Loss, optimizer: Optimizer, plan: StepPlan) -> None:
        self._network, self._loss, self._optimizer, self._plan = network, loss, optimizer, plan
        self._parameters = network.parameters
        rows = plan.batch_rows
        self._x = np.empty((rows, *plan.x.shape[1:]), plan.x.dtype)
        self._y = np.empty((rows, *plan.y.shape[1:]), plan.y.dtype)
        self._weights = np.empty(rows if plan.weights.size else 0)
        self._grad = np.empty((rows, network.layers[-1].units), plan.x.dtype)
        self._norms = np.empty(max(layer.bias.size for layer in network.dense_layers))

    def take(
        self,
        order: NDArray[np.int64],
        learning_rates: NDArray[np.float64],
        rates: NDArray[np.float64],
        *,
        sums: NDArray[np.float64],
        step: int,
    ) -> int:
        """Take a step for each of ``learning_rates``, see ``Steps.take``."""
        network, plan = self._network, self._plan
        for taken, learning_rate in enumerate(learning_rates.tolist()):
            chosen = order[taken * plan.batch_rows : (taken + 1) * plan.batch_rows]
            for dropout, rate in zip(plan.scheduled, rates[taken].tolist(), strict=True):
                dropout.rate = rate
            norm = self._backpropagate(chosen, Mode.training(plan.seed, step + taken), sums)
            if not math.isfinite(sums[0]) or not math.isfinite(norm):
                return taken
            clip = plan.clip_norm
            self._optimizer.step(
                self._parameters,
                learning_rate=learning_rate,
                step=step + taken + 1,
                grad_scale=clip / norm if clip is not None and norm > clip else 1.0,
            )
            if plan.max_norm is not None:
                for layer in network.dense_layers[:-1]:
                    max_norm(layer.weight, plan.max_norm, self._norms[: layer.bias.size])
        return learning_rates.size

    def _backpropagate(self, chosen: NDArray[np.int64], mode: Mode, sums: NDArray[np.float64]) -> float:
        """Write the gradients of a mini-batch; return their norm."""
        plan, rows = self._plan, len(chosen)
        x, y, weights, grad = self._x[:rows], self._y[:rows], self._weights[:rows], self._grad[:rows]
        # mode="clip" lets NumPy write into `out` without a buffer; the indices are in range
        np.take(plan.x, chosen, axis=0, out=x, mode="clip")
        np.take(plan.y, chosen, axis=0, out=y, mode="clip")
        if plan.weights.size:
            np.take(plan.weights, chosen, out=weights, mode="clip")
        with np.errstate(all="ignore"):  # what overflows is found by who called
            self._differentiate(x, y, weights, mode, grad=grad, sums=sums)
            return self._parameters.grad_norm()

    def _differentiate(
        self,
        x: NDArray[np.float32],
        y: NDArray[Any],
        weights: NDArray[np.float64],
        mode: Mode,
        *,
        grad: NDArray[np.floating],
        sums: NDArray[np.float64],
    ) -> None:
        """Write the gradients of a mini-batch, with ``grad`` for that by the outputs, and add to the sums."""
        network = self._network
        outputs = network.forward(x, mode, differentiable=True)
        self._loss(outputs, y, grad, sums, weights)
        network.backward(grad)
        network.regularize(self._plan.training_rows)


class SharedSteps(LayeredSteps):
    """Steps of members that share weights: each a mini-batch that all see, and one step of the optimizer.

    Bounds of the weights of a unit have no meaning here, where each member has units of its own.
    """

    def __init__(self, network: SharedNetwork, loss: Loss, optimizer: Optimizer, plan: StepPlan) -> None:
        super().__init__(network.plain, loss, optimizer, plan)
        self._shared, self._parameters = network, network.parameters
        compiled = can_compile_members(network)
        self._program = SharedProgram(network, loss, plan.batch_rows, threads=plan.threads) if compiled else None
        self.one_threaded = compiled and plan.threads == 1

    def _differentiate(
        self,
        x: NDArray[np.float32],
        y: NDArray[Any],
        weights: NDArray[np.float64],
        mode: Mode,
        *,
        grad: NDArray[np.floating],
        sums: NDArray[np.float64],
    ) -> None:
        """Write the gradients of the mean of the members' losses, and add that mean to the sums."""
        of_all = np.zeros_like(sums)

        def lose(outputs: NDArray[np.floating]) -> NDArray[np.floating]:
            self._loss(outputs, y, grad, of_all, weights)
            return grad

        if self._program is None:
            self._shared.differentiate(x, mode, lose, rows=self._plan.training_rows)
        else:
            self._program.differentiate(x, y, weights, mode, of_all)
        sums += of_all / self._shared.members
