"""``TrainingSpec``: what to train, on what, and how. Request body, stored JSON and trainer input in one."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from dropout_service.errors import InvalidInputError
from dropout_service.training.arrays import Matrix, Vector  # noqa: TC001 - Pydantic reads annotations
from dropout_service.training.dropout_spec import ACCEPTED, AnyDropout, Dropouts, DropoutSpec
from dropout_service.training.strict import Items, Name, StrictSpec, located

__all__ = [
    "AdamSpec",
    "AdamWSpec",
    "ConstantSchedule",
    "CosineSchedule",
    "DataSpec",
    "EarlyStoppingSpec",
    "ExponentialSchedule",
    "ModelSpec",
    "OptimizerSpec",
    "SGDSpec",
    "ScheduleSpec",
    "StepSchedule",
    "TrainingSpec",
]


class DataSpec(StrictSpec):
    """The data to train on: a stored dataset, or arrays given in place."""

    dataset: str | None = Field(
        default=None,
        description="Id of a stored dataset (`POST /datasets`).",
        examples=["sha256-4f2a"],
    )
    target: str | None = Field(
        default=None,
        description="Name of the target column. Default: the column `y` of an npz, the last column of a table.",
    )
    features: Items[str] | None = Field(
        default=None, description="Names of the feature columns. Default: every column but the target."
    )
    x: Matrix | None = Field(
        default=None, description="Features in place, shape (rows, features). Large arrays belong in a dataset."
    )
    y: Vector | None = Field(
        default=None, description="Targets in place, shape (rows,): numbers, or class labels as numbers or text."
    )

    @model_validator(mode="after")
    def _one_source(self) -> DataSpec:
        inline = self.x is not None or self.y is not None
        if inline and self.dataset is not None:
            raise ValueError("give either `dataset` or `x` and `y`, not both")
        if not inline and self.dataset is None:
            raise ValueError("give the id of a stored `dataset`, or `x` and `y`")
        if inline and (self.x is None or self.y is None):
            raise ValueError("arrays in place need both `x` and `y`")
        if inline and (self.target is not None or self.features is not None):
            raise ValueError("`target` and `features` name columns of a dataset; leave them out beside `x` and `y`")
        return self


class ModelSpec(StrictSpec):
    """A multi-layer perceptron with dropout."""

    hidden: Items[Annotated[int, Field(ge=1, le=65_536)]] = Field(
        default=(128, 128),
        max_length=64,
        description="Units of each hidden layer; empty for a linear model.",
    )
    activation: Literal["relu", "gelu", "tanh", "sigmoid", "selu"] = Field(
        default="relu", description="Activation of the hidden layers. `gelu` is its tanh form."
    )
    residual: bool = Field(
        default=False,
        exclude_if=lambda value: not value,
        description="Lead past each hidden layer but the first: y = x + dropout(activation(x weight + bias)). All "
        "hidden layers then have one width.",
    )
    dropout: Dropouts = Field(
        default=0.5,
        description="Dropout after each hidden activation: one for all hidden layers, or one for each. A number is the "
        "rate of standard dropout; an object names a variant. `dropconnect` drops weights of its hidden layer instead; "
        "`drop_path` drops what `residual` leads past, and so needs it.",
        examples=[0.5, [0.2, 0.5], {"variant": "gaussian", "rate": 0.3}],
    )
    input_dropout: AnyDropout = Field(
        default=0.0,
        description="Dropout of the inputs, in the same forms; `dropconnect` and `drop_path` have no place here.",
    )
    initializer: Literal[
        "auto", "he_normal", "he_uniform", "glorot_normal", "glorot_uniform", "lecun_normal", "lecun_uniform"
    ] = Field(
        default="auto",
        description="Initialisation of the weights. `auto`: he_normal for ReLU and GELU, lecun_normal for SELU, "
        "glorot_uniform otherwise.",
    )

    @field_validator("residual")
    @classmethod
    def _one_width(cls, residual: bool, info: ValidationInfo) -> bool:  # noqa: FBT001 - a field
        hidden = info.data.get("hidden", ())
        if residual and len(set(hidden)) > 1:
            raise ValueError(f"residual connections need hidden layers of one width, not {list(hidden)}")
        return residual

    @field_validator("dropout")
    @classmethod
    def _one_each(cls, dropout: Dropouts, info: ValidationInfo) -> Dropouts:
        hidden = info.data.get("hidden")
        if isinstance(dropout, tuple) and hidden is not None and len(dropout) != len(hidden):
            raise ValueError(
                f"{len(dropout)} rates for {len(hidden)} hidden layers; give one rate, or one for each hidden layer"
            )
        return dropout

    @model_validator(mode="after")
    def _fits_the_layers(self, info: ValidationInfo) -> ModelSpec:
        hidden = self.dropout if isinstance(self.dropout, tuple) else (self.dropout,)
        if any(isinstance(one, DropoutSpec) for one in (*hidden, self.input_dropout)) and info.context != ACCEPTED:
            # Not at the top, for the same reason as the table in `dropout_spec`
            from dropout_service.training.networks import build_layers  # noqa: PLC0415 - as said

            # How many features there are is known when there are data
            shape = self.input_dropout.shape if isinstance(self.input_dropout, DropoutSpec) else None
            try:
                build_layers(self, math.prod(shape or (1,)), 1)
            except InvalidInputError as error:
                raise located(error) from error
        return self


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


class ConstantSchedule(StrictSpec):
    """The learning rate stays as it is."""

    kind: Literal["constant"] = "constant"
    warmup_epochs: int = Field(default=0, ge=0, description="Epochs of linear warm-up from zero.")


class StepSchedule(StrictSpec):
    """The learning rate is multiplied by `factor` every `every_epochs` epochs."""

    kind: Literal["step"] = "step"
    every_epochs: int = Field(default=30, ge=1)
    factor: float = Field(default=0.1, gt=0, le=1)
    warmup_epochs: int = Field(default=0, ge=0, description="Epochs of linear warm-up from zero.")


class ExponentialSchedule(StrictSpec):
    """The learning rate is multiplied by `factor` every epoch."""

    kind: Literal["exponential"] = "exponential"
    factor: float = Field(default=0.98, gt=0, le=1)
    warmup_epochs: int = Field(default=0, ge=0, description="Epochs of linear warm-up from zero.")


class CosineSchedule(StrictSpec):
    """The learning rate falls along half a cosine to `final_factor` of its start (Loshchilov and Hutter 2017)."""

    kind: Literal["cosine"] = "cosine"
    final_factor: float = Field(default=0.0, ge=0, le=1)
    warmup_epochs: int = Field(default=0, ge=0, description="Epochs of linear warm-up from zero.")


ScheduleSpec = Annotated[
    ConstantSchedule | StepSchedule | ExponentialSchedule | CosineSchedule, Field(discriminator="kind")
]


class EarlyStoppingSpec(StrictSpec):
    """Stop when the validation loss has not improved for a while; the best weights are kept."""

    patience: int = Field(default=10, ge=1, description="Epochs without improvement before the training stops.")
    min_delta: float = Field(default=0.0, ge=0, description="An improvement is a fall of the loss by more than this.")


class TrainingSpec(StrictSpec):
    """One training: the data, the network, and how to fit it."""

    name: Name | None = Field(default=None, description="A name for people; need not be unique.")
    task: Literal["classification", "regression"] = Field(description="What the target is: a class or a number.")
    data: DataSpec
    model: ModelSpec = ModelSpec()
    loss: Literal["auto", "cross_entropy", "binary_cross_entropy", "squared_error", "gaussian_nll"] = Field(
        default="auto",
        description="`auto`: binary_cross_entropy for two classes, cross_entropy for more, squared_error for a "
        "regression. `gaussian_nll` also learns the variance of the target (Nix and Weigend 1994).",
    )
    optimizer: OptimizerSpec = AdamSpec()
    schedule: ScheduleSpec = ConstantSchedule()
    epochs: int = Field(default=100, ge=1, le=1_000_000, description="Passes over the training part.")
    batch_size: int = Field(default=32, ge=1, le=1_048_576, description="Rows of a mini-batch.")
    max_norm: float | None = Field(
        default=None,
        gt=0,
        description="Upper bound of the L2 norm of each hidden unit's incoming weights (Srivastava et al. 2014).",
    )
    clip_norm: float | None = Field(
        default=None, gt=0, description="Upper bound of the global L2 norm of the gradient (Pascanu et al. 2013)."
    )
    validation_fraction: float = Field(
        default=0.2,
        ge=0,
        lt=1,
        description="Part of the rows held out for validation, stratified by class. 0: none.",
    )
    early_stopping: EarlyStoppingSpec | None = Field(
        default=None, description="Needs a validation part. Left out: all epochs run and the last weights are kept."
    )
    standardize: bool = Field(
        default=True,
        description="Scale inputs (and a regression's target) to mean 0 and deviation 1, fitted on the training part.",
    )
    seed: int = Field(
        default=0, ge=0, le=2**53 - 1, description="Seed of initial weights, splits, shuffles and dropout masks."
    )
    threads: int = Field(default=1, ge=1, le=64, description="Threads of one training process.")
    max_runtime_s: float | None = Field(
        default=None,
        gt=0,
        description="Stop after this many seconds of running, with the weights reached; stop reason `max_runtime`.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> TrainingSpec:
        classification = self.loss in {"cross_entropy", "binary_cross_entropy"}
        regression = self.loss in {"squared_error", "gaussian_nll"}
        if (self.task == "regression" and classification) or (self.task == "classification" and regression):
            right = "cross_entropy or binary_cross_entropy" if regression else "squared_error or gaussian_nll"
            raise ValueError(f"loss `{self.loss}` does not fit a {self.task}; use {right}")
        if self.schedule.warmup_epochs >= self.epochs:
            raise ValueError(
                f"{self.schedule.warmup_epochs} warm-up epochs leave none of the {self.epochs} epochs to the schedule; "
                "give fewer"
            )
        if self.early_stopping is not None and self.validation_fraction == 0:
            raise ValueError("early stopping watches the validation loss; set validation_fraction above 0")
        return self
