"""Jobs and events as the API tells of them."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from dropout_service.jobs.events import EventType
from dropout_service.jobs.job import JobStatus, StopReason
from dropout_service.training.spec import TrainingSpec

if TYPE_CHECKING:
    from dropout_service.jobs.job import Job

__all__ = ["EpochReport", "EventPage", "EventReport", "JobReport", "MetricsPage"]

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
    phase: str = Field(description="What was being done: `loading`, `training` or `saving`.")
    epoch: int | None = Field(description="The epoch (from 1) in which it happened, if training had begun.")
    message: str = Field(description="What happened.")
    hint: str = Field(description="What can be done about it.")
    traceback: str | None = Field(description="Where in the program, if it was a fault of the program.")


class JobReport(_Report):
    """A training job."""

    id: str = Field(examples=["job_01jd4n6w1v8c0qk5h8z2p3e7rt"])
    name: str | None = Field(description="The name in its specification.")
    status: JobStatus
    stop_reason: StopReason | None = Field(description="Why it ended; null before that.")
    spec: TrainingSpec = Field(description="What it trains; arrays that were given in place are a dataset by now.")
    created_at: datetime = Field(description="When it was accepted (UTC).")
    started_at: datetime | None = Field(description="When its first attempt began.")
    finished_at: datetime | None = Field(description="When it ended.")
    attempt: int = Field(description="Number of its latest attempt; 0 before the first.")
    max_attempts: int = Field(description="Attempts that may die in a row without a new checkpoint.")
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
    def of(cls, job: Job) -> Self:
        """Tell of a job as it stands."""
        return cls.model_validate(job)


class EventReport(_Report):
    """Something that happened to a job."""

    sequence: int = Field(description="Place in the job's history, from 1, without gaps.")
    type: EventType
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
