"""``TrainingSpec``: what to train, on what, and how. Request body, stored JSON and trainer input in one."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from dropout_service.training.spec.data import DataSpec
from dropout_service.training.spec.model import ModelSpec
from dropout_service.training.spec.optimizers import AdamSpec, OptimizerSpec
from dropout_service.training.spec.schedules import ConstantSchedule, ScheduleSpec
from dropout_service.training.spec.strict import Items, Name, StrictSpec

__all__ = ["EarlyStoppingSpec", "TrainingSpec"]

HUBER_DELTA: Final = 1.0
QUANTILES: Final = (0.1, 0.5, 0.9)

ClassWeights = Annotated[
    dict[Annotated[str, Field(max_length=1000)], Annotated[float, Field(gt=0)]], Field(min_length=1, max_length=1000)
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
    model: ModelSpec = Field(
        default=ModelSpec(),
        description="The network. Left out when a job is submitted: a recipe chooses it by the size of the table, and "
        "with it what else is left out of `optimizer`, `schedule`, `epochs`, `batch_size`, `validation_fraction`, "
        "`early_stopping` and `scaling`; the job shows what was chosen. Where a model is given, these have the "
        "defaults below.",
    )
    loss: Literal[
        "auto", "cross_entropy", "binary_cross_entropy", "squared_error", "huber", "gaussian_nll", "quantile"
    ] = Field(
        default="auto",
        description="`auto`: binary_cross_entropy for two classes, cross_entropy for more, squared_error for a "
        "regression. `gaussian_nll` also learns the variance of the target (Nix and Weigend 1994), `quantile` the "
        "quantiles of `quantiles` (Koenker and Bassett 1978); `huber` is not led by outliers (Huber 1964).",
    )
    label_smoothing: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        exclude_if=lambda value: value == 0,
        description="Part of each label that is shared out among all classes in training (Szegedy et al. 2016). The "
        "loss of the validation part is without it.",
    )
    class_weights: Literal["balanced"] | ClassWeights | None = Field(
        default=None,
        exclude_if=lambda value: value is None,
        description="Factor of the loss of each class: `balanced` for rows / (classes * rows of the class), or an "
        "object from labels to numbers above 0; a class that is left out has 1.",
        examples=["balanced", {"yes": 5, "no": 1}],
    )
    huber_delta: float = Field(
        default=HUBER_DELTA,
        gt=0,
        exclude_if=lambda value: value == HUBER_DELTA,
        description="Of the loss `huber`: the absolute error beyond which it is a line, in units of the standardised "
        "target.",
    )
    quantiles: Items[Annotated[float, Field(gt=0, lt=1)]] = Field(
        default=QUANTILES,
        min_length=1,
        max_length=99,
        exclude_if=lambda value: value == QUANTILES,
        description="Levels of the loss `quantile`, in rising order.",
    )
    target_transform: Literal["identity", "log", "log1p", "quantile"] = Field(
        default="identity",
        exclude_if=lambda value: value == "identity",
        description="What is done to the target of a regression before `standardize`, and undone in predictions and "
        "figures: `log` of numbers above 0, `log1p`, log(1 + target), of numbers above -1, or `quantile`, the normal "
        "scores of ranks among the training rows. `values` of a prediction are then medians rather than means.",
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
    scaling: Literal["standard", "robust"] = Field(
        default="standard",
        exclude_if=lambda value: value == "standard",
        description="How `standardize` scales inputs: by mean and deviation, or by median and quartiles with a smooth "
        "clip at 3 (Holzmueller et al. 2024), which outliers do not move.",
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
        regression = self.loss in {"squared_error", "huber", "gaussian_nll", "quantile"}
        if (self.task == "regression" and classification) or (self.task == "classification" and regression):
            right = (
                "cross_entropy or binary_cross_entropy"
                if regression
                else "squared_error, huber, gaussian_nll or quantile"
            )
            raise ValueError(f"loss `{self.loss}` does not fit a {self.task}; use {right}")
        if self.task == "classification" and isinstance(self.data.target, tuple):
            raise ValueError("a classification has one target; several are for a regression")
        self._check_options_of_loss()
        if self.schedule.warmup_epochs >= self.epochs:
            raise ValueError(
                f"{self.schedule.warmup_epochs} warm-up epochs leave none of the {self.epochs} epochs to the schedule; "
                "give fewer"
            )
        if self.early_stopping is not None and self.validation_fraction == 0:
            raise ValueError("early stopping watches the validation loss; set validation_fraction above 0")
        if self.model.own_parts and self.validation_fraction == 0:
            raise ValueError("networks that hold out rows of their own need some; set validation_fraction above 0")
        if self.model.shares and self.max_norm is not None:
            raise ValueError(
                "`max_norm` bounds the weights of a unit, and members that share weights have units of their own; "
                "use `weight_decay` of the optimizer, or leave `share` out"
            )
        return self

    def _check_options_of_loss(self) -> None:
        if self.task == "regression" and self.label_smoothing:
            raise ValueError("`label_smoothing` is for classes; leave it out of a regression")
        if self.task == "regression" and self.class_weights is not None:
            raise ValueError("`class_weights` are for classes; weigh rows of a regression by a column, `data.weight`")
        if self.task == "classification" and self.target_transform != "identity":
            raise ValueError("`target_transform` is for the numbers of a regression; leave it out of a classification")
        if self.loss != "huber" and self.huber_delta != HUBER_DELTA:
            raise ValueError("`huber_delta` is of the loss `huber`; leave it out beside another")
        if self.loss != "quantile" and self.quantiles != QUANTILES:
            raise ValueError("`quantiles` are of the loss `quantile`; leave them out beside another")
        if any(low >= high for low, high in pairwise(self.quantiles)):
            raise ValueError(f"`quantiles` are levels in rising order, not {list(self.quantiles)}")
