"""The table of optimizers. State is explicit: named flat arrays that a checkpoint can store.

An optimizer is added by a class with ``state`` and ``step`` and a line in ``OPTIMIZERS``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np

from dropout_service.kernels.training.optimizer_steps import adam_step, sgd_step

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from dropout_service.nn.parameter_vector import ParameterVector

__all__ = ["OPTIMIZERS", "SGD", "Adam", "AdamW", "Optimizer"]


class Optimizer(Protocol):
    """Moves parameters along their gradients."""

    state: dict[str, NDArray[np.floating]]
    """What it remembers between steps, one flat array a name; a checkpoint copies into and out of them."""

    def step(self, parameters: ParameterVector, *, learning_rate: float, step: int, grad_scale: float = 1.0) -> None:
        """Update ``parameters.values`` and the state in place.

        Parameters
        ----------
        parameters
            Values and gradients.
        learning_rate
            The rate of this step.
        step
            Number of this step, from 1.
        grad_scale
            Factor on the gradients (clipping).
        """
        ...


class SGD:
    """Stochastic gradient descent with momentum (Polyak 1964) and Nesterov's form (Sutskever et al. 2013).

    v = momentum v + g + weight_decay w; w -= learning_rate v, or with Nesterov w -= learning_rate (g' + momentum v).

    Parameters
    ----------
    parameters
        What will be updated: gives the size and dtype of the state.
    momentum, nesterov, weight_decay
        As in the equation; weights only feel the decay, biases never.
    """

    def __init__(
        self, parameters: ParameterVector, *, momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0
    ) -> None:
        self.momentum = momentum
        self.nesterov = nesterov
        self.weight_decay = weight_decay
        self.state = {"velocity": np.zeros_like(parameters.values)}

    def step(self, parameters: ParameterVector, *, learning_rate: float, step: int, grad_scale: float = 1.0) -> None:
        """Update in place, see ``Optimizer.step``."""
        del step
        sgd_step(
            parameters.values,
            parameters.grads,
            self.state["velocity"],
            parameters.weight_count,
            grad_scale,
            learning_rate,
            self.momentum,
            self.weight_decay,
            self.nesterov,
        )


class Adam:
    """Adam (Kingma and Ba 2015), with bias correction; weight decay is an L2 term of the gradient.

    m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2;
    w -= learning_rate m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon).

    Parameters
    ----------
    parameters
        What will be updated: gives the size and dtype of the state.
    beta1, beta2, epsilon, weight_decay
        As in the equation; weights only feel the decay, biases never.
    """

    decoupled: ClassVar[bool] = False

    def __init__(
        self,
        parameters: ParameterVector,
        *,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon = epsilon
        self.weight_decay = weight_decay
        self.state = {"mean": np.zeros_like(parameters.values), "variance": np.zeros_like(parameters.values)}

    def step(self, parameters: ParameterVector, *, learning_rate: float, step: int, grad_scale: float = 1.0) -> None:
        """Update in place, see ``Optimizer.step``."""
        adam_step(
            parameters.values,
            parameters.grads,
            self.state["mean"],
            self.state["variance"],
            parameters.weight_count,
            grad_scale,
            learning_rate,
            self.beta1,
            self.beta2,
            self.epsilon,
            0.0 if self.decoupled else self.weight_decay,
            self.weight_decay if self.decoupled else 0.0,
            step,
        )


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019): w -= learning_rate weight_decay w beside it."""

    decoupled: ClassVar[bool] = True


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {"sgd": SGD, "adam": Adam, "adamw": AdamW}
