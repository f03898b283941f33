"""Jobs, events and metrics in requests and responses."""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AliasPath, BaseModel, ConfigDict, Field, WrapValidator

from dropout_service.jobs.events import EventType
from dropout_service.jobs.job import (
    MAX_ATTEMPTS,
    MIN_MEMORY_BYTES,
    MOST_ATTEMPTS,
    MOST_PRIORITY,
    JobStatus,
    Phase,
    RunOptions,
    StopReason,
)
from dropout_service.training.spec import DataSpec, TrainingSpec
from dropout_service.training.stored import UnreadableSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dropout_service.jobs.history import AttemptRecord
    from dropout_service.jobs.job import Job

__all__ = ["EpochReport", "EventPage", "EventReport", "JobReport", "JobRequest", "MetricsPage"]

_MOST_TOLD = 100
"""Attempts that the answer about a job tells of; its events tell of all."""

Number = float | Literal["NaN", "Infinity", "-Infinity"]


class _Report(BaseModel):
    model_config = ConfigDict(from_attributes=True, frozen=True)


class EpochReport(_Report):
    """The metrics of an epoch: a function of the specification and the data, the same in each repetition."""

    epoch: int = Field(description="Number of the epoch, from 1.")
    epochs: int = Field(description="Number of epochs asked for.")
    step: int = Field(description="Optimizer steps since the beginning.")
    learning_rate: Number = Field(description="Learning rate of its last step.")
    train: dict[str, Number] = Field(
        description="Metrics of the training part, with dropout on.", examples=[{"loss": 0.41, "accuracy": 0.88}]
    )
    validation: dict[str, Number] | None = Field(description="Metrics of the validation part, with dropout off.")
    best_epoch: int | None = Field(description="Epoch with the best validation loss so far, under early stopping.")
    dropout_rates: list[float] | None = Field(
        default=None,
        exclude_if=lambda value: value is None,
        description="Dropout rate of each hidden layer at its last step, or as learned by then.",
    )
    input_dropout_rate: float | None = Field(
        default=None, exclude_if=lambda value: value is None, description="Likewise that of the inputs."
    )


class FailureReport(_Report):
    """What went wrong."""

    code: str = Field(description="Stable and made for programs.", examples=["diverged"])
    phase: Phase | None = Field(description="What was being done; null if that is not known.")
    epoch: int | None = Field(description="The epoch (from 1) in which it happened, if training had begun.")
    message: str = Field(description="What happened.")
    hint: str = Field(description="What can be done about it.")
    traceback: str | None = Field(description="Where in the program, if it was a fault of the program.")


class AttemptReport(_Report):
    """One attempt at a job."""

    number: int = Field(description="From 1.")
    started_at: datetime
    ended_at: datetime | None = Field(description="Null while it runs.")
    reason: str | None = Field(
        description="Why it ended: the stop reason of the job, or `pause`, `shutdown` or `unavailable`.",
        examples=["lost"],
    )
    message: str | None = Field(description="What happened, if it did not end in good order.")
    epoch: int | None = Field(description="Complete epochs of the checkpoint it went on from; null at the beginning.")
    step: int | None = Field(description="Optimizer steps of that checkpoint.")


class JobRequest(TrainingSpec):
    """A training, and how it is to be run; the latter leaves its result as it is."""

    priority: int = Field(
        default=0,
        ge=-MOST_PRIORITY,
        le=MOST_PRIORITY,
        description="Jobs with a higher one start earlier; among equals the oldest.",
    )
    max_memory_bytes: int | None = Field(
        default=None,
        ge=MIN_MEMORY_BYTES,
        le=2**63 - 1,
        description="Memory of a training process, without the files that it maps, at most what the service grants. "
        "One that needs more ends with the stop reason `out_of_memory`.",
    )
    max_attempts: int = Field(
        default=MAX_ATTEMPTS,
        ge=1,
        le=MOST_ATTEMPTS,
        description="Attempts that may die in a row without a new checkpoint before the job is given up.",
    )

    @property
    def options(self) -> RunOptions:
        """Take how it is to be run."""
        return RunOptions(**{field.name: getattr(self, field.name) for field in fields(RunOptions)})

    def training(self, data: DataSpec) -> TrainingSpec:
        """Take what decides the result, on other data."""
        fields: dict[str, Any] = {name: getattr(self, name) for name in TrainingSpec.model_fields}
        return TrainingSpec.model_construct(None, **(fields | {"data": data}))


def _as_stored(spec: Any, _handler: object) -> Any:
    return spec.document if isinstance(spec, UnreadableSpec) else spec


class JobReport(_Report):
    """A training job."""

    id: str = Field(examples=["job_01jd4n6w1v8c0qk5h8z2p3e7rt"])
    name: str | None = Field(description="The name in its specification.")
    status: JobStatus
    stop_reason: StopReason | None = Field(description="Why it ended; null before that.")
    spec: Annotated[TrainingSpec | dict[str, Any], WrapValidator(_as_stored)] = Field(
        description="What it trains; arrays that were given in place are a dataset by now. The object that is stored, "
        "where `unreadable` is not null."
    )
    unreadable: str | None = Field(
        default=None,
        description="Why this version of the service cannot read the specification, and so does not run the job: a "
        "later version made it, or it is damaged. Null otherwise.",
    )
    created_at: datetime = Field(description="When it was accepted (UTC).")
    started_at: datetime | None = Field(description="When its first attempt began.")
    finished_at: datetime | None = Field(description="When it ended.")
    attempt: int = Field(description="Number of its latest attempt; 0 before the first.")
    phase: Phase | None = Field(description="What that attempt is doing, or did last; null before the first.")
    max_attempts: int = Field(
        validation_alias=AliasPath("options", "max_attempts"),
        description="Attempts that may die in a row without a new checkpoint.",
    )
    attempts: list[AttemptReport] | None = Field(
        default=None,
        description="How each attempt began and ended; the latest 100. Null in lists.",
    )
    retry_at: datetime | None = Field(description="When the next attempt may begin, after attempts that died.")
    priority: int = Field(
        validation_alias=AliasPath("options", "priority"), description="Jobs with a higher one start earlier."
    )
    max_memory_bytes: int | None = Field(
        validation_alias=AliasPath("options", "max_memory_bytes"),
        description="Memory of its training process; null for as much as the service grants.",
    )
    progress: float = Field(description="Part of the training that is done, 0 to 1.")
    epoch: int = Field(description="Epochs that are complete.")
    epochs: int = Field(description="Epochs that were asked for.")
    estimated_finish_at: datetime | None = Field(
        description="When the last epoch ends at the present rate; early stopping may come first."
    )
    metrics: EpochReport | None = Field(description="Metrics of the latest epoch.")
    model: str | None = Field(description="Id of the model, once it has succeeded.")
    failure: FailureReport | None = Field(description="What went wrong, if it failed.")

    @classmethod
    def of(cls, job: Job, attempts: Sequence[AttemptRecord] | None = None) -> Self:
        """Tell of a job as it stands, and of its attempts if they are given."""
        report = cls.model_validate(job)
        if attempts is None:
            return report
        told = [AttemptReport.model_validate(attempt) for attempt in attempts[-_MOST_TOLD:]]
        return report.model_copy(update={"attempts": told})


class EventReport(_Report):
    """Something that happened to a job."""

    sequence: int = Field(description="Place in the job's history, from 1, without gaps.")
    type: EventType | str
    at: datetime = Field(description="When it happened (UTC).")
    data: dict[str, Any] = Field(
        description="`epoch`: its metrics and `duration_s`; `started`: the attempt; `restarted`: the reason; "
        "`succeeded` and `failed`: the stop reason with the model or the failure."
    )


class EventPage(_Report):
    """A part of a job's history."""

    items: list[EventReport]
    next_after: int = Field(description="Give it as `after` to read on; events may have been added since.")


class MetricsPage(_Report):
    """Metrics of epochs, in order."""

    items: list[EpochReport]
    next_after: int | None = Field(description="Give it as `after` to read on; null when there is no more yet.")
