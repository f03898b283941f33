"""The optimizers of a specification, one schema for each of ``nn.optimizers.OPTIMIZERS``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dropout_service.training.spec.strict import StrictSpec

__all__ = ["AdamSpec", "AdamWSpec", "OptimizerSpec", "SGDSpec"]


class _OptimizerSpec(StrictSpec):
    learning_rate: float = Field(default=1e-3, gt=0, le=1e3, description="Initial learning rate.")
    weight_decay: float = Field(default=0.0, ge=0, description="L2 penalty on the weights, never on the biases.")


class SGDSpec(_OptimizerSpec):
    """Stochastic gradient descent with momentum (Polyak 1964; Sutskever et al. 2013)."""

    kind: Literal["sgd"] = "sgd"
    learning_rate: float = Field(default=0.1, gt=0, le=1e3, description="Initial learning rate.")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="Momentum coefficient.")
    nesterov: bool = Field(default=False, description="Nesterov's accelerated gradient.")


class AdamSpec(_OptimizerSpec):
    """Adam (Kingma and Ba 2015); `weight_decay` is added to the gradient."""

    kind: Literal["adam"] = "adam"
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.999, ge=0, lt=1)
    epsilon: float = Field(default=1e-8, gt=0)


class AdamWSpec(_OptimizerSpec):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""

    kind: Literal["adamw"] = "adamw"
    weight_decay: float = Field(default=0.01, ge=0, description="Decoupled weight decay, never on the biases.")
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.999, ge=0, lt=1)
    epsilon: float = Field(default=1e-8, gt=0)


OptimizerSpec = Annotated[SGDSpec | AdamSpec | AdamWSpec, Field(discriminator="kind")]
