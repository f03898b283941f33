"""The training specification as typed dictionaries, so that editors and type checkers know its fields.

The service checks it and answers a mistake with its place; the OpenAPI page ``/docs`` explains each field.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypedDict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from dropout_client.arrays import ArrayLike
    from dropout_client.dropout import VariantName

__all__ = [
    "ColumnSpec",
    "DataSpec",
    "DropoutSpec",
    "EarlyStoppingSpec",
    "EnsembleSpec",
    "JobRequest",
    "ModelSpec",
    "OptimizerSpec",
    "RateScheduleSpec",
    "ScheduleSpec",
    "TrainingSpec",
]


class ColumnSpec(TypedDict, total=False):
    """How a column is used."""

    kind: Literal["number", "boolean", "category", "code", "date", "text"]
    use: bool


class DataSpec(TypedDict, total=False):
    """What to train on: a stored dataset, a local file, or arrays. The client uploads the last two."""

    dataset: str
    """Id of a stored dataset."""
    file: str | Path
    """Path of a csv, npy or npz file, uploaded first."""
    x: ArrayLike
    """Features, shape (rows, features), uploaded first."""
    y: ArrayLike
    """Targets, shape (rows,): numbers or labels."""
    target: str | Sequence[str]
    """Name of the target column, or of a regression the names of several."""
    features: Sequence[str]
    """Names of the feature columns."""
    columns: Mapping[str, ColumnSpec]
    """How columns are used, where that is to differ from what the schema suggests."""
    weight: str
    """Name of a column that the loss of each row is weighted with."""


class RateScheduleSpec(TypedDict, total=False):
    """How a dropout rate goes over the epochs."""

    kind: Literal["constant", "linear", "curriculum", "early", "late"]
    start: float
    over_epochs: int | None
    gamma: float
    first_epochs: int


class DropoutSpec(TypedDict, total=False):
    """A variant of dropout, with the parameters that it takes; ``client.dropout.variants()`` lists both."""

    variant: VariantName
    rate: float
    schedule: RateScheduleSpec
    shape: Sequence[int]
    axis: int
    block_size: int
    temperature: float


class EnsembleSpec(TypedDict, total=False):
    """Several networks of one shape, whose mean is the prediction."""

    members: int
    held_out: Literal["shared", "own"]
    share: bool


class ModelSpec(TypedDict, total=False):
    """A feed-forward network with dropout: a number is the rate of standard dropout."""

    hidden: Sequence[int]
    activation: Literal["relu", "gelu", "tanh", "sigmoid", "selu", "silu", "mish"]
    residual: bool
    dropout: float | DropoutSpec | Sequence[float | DropoutSpec]
    input_dropout: float | DropoutSpec
    layers: Sequence[Mapping[str, object]]
    """In place of the shorthand above: the layers one by one, each with its ``kind`` and what that takes."""
    initializer: Literal[
        "auto", "he_normal", "he_uniform", "glorot_normal", "glorot_uniform", "lecun_normal", "lecun_uniform"
    ]
    ensemble: EnsembleSpec


class OptimizerSpec(TypedDict, total=False):
    """The optimizer and its parameters."""

    kind: Literal["sgd", "adam", "adamw"]
    learning_rate: float
    weight_decay: float
    momentum: float
    nesterov: bool
    beta1: float
    beta2: float
    epsilon: float


class ScheduleSpec(TypedDict, total=False):
    """How the learning rate goes over the epochs."""

    kind: Literal["constant", "step", "exponential", "cosine"]
    warmup_epochs: int
    every_epochs: int
    factor: float
    final_factor: float


class EarlyStoppingSpec(TypedDict, total=False):
    """When to stop before the last epoch."""

    patience: int
    min_delta: float


class TrainingSpec(TypedDict, total=False):
    """One training; ``task`` and ``data`` are needed, all else has a default."""

    name: str | None
    task: Literal["classification", "regression"]
    data: DataSpec
    model: ModelSpec
    loss: Literal["auto", "cross_entropy", "binary_cross_entropy", "squared_error", "huber", "gaussian_nll", "quantile"]
    label_smoothing: float
    class_weights: Literal["balanced"] | Mapping[str, float] | None
    huber_delta: float
    quantiles: Sequence[float]
    target_transform: Literal["identity", "log", "log1p", "quantile"]
    optimizer: OptimizerSpec
    schedule: ScheduleSpec
    epochs: int
    batch_size: int
    max_norm: float | None
    clip_norm: float | None
    validation_fraction: float
    early_stopping: EarlyStoppingSpec | None
    standardize: bool
    scaling: Literal["standard", "robust"]
    seed: int
    threads: int
    max_runtime_s: float | None


class JobRequest(TrainingSpec, total=False):
    """A training, and how it is to be run; the latter leaves its result as it is."""

    priority: int
    """From -100 to 100, 0 if left out: jobs with a higher one start earlier, and among equals the oldest."""
    max_memory_bytes: int | None
    """Memory of the training process, at least 1 GB; files that it maps do not count."""
    max_attempts: int
    """Attempts that may die in a row without a new checkpoint, 3 if left out."""
