"""The schedules of the learning rate, one schema for each of ``nn.schedules.SCHEDULES``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dropout_service.training.spec.strict import StrictSpec

__all__ = ["ConstantSchedule", "CosineSchedule", "ExponentialSchedule", "ScheduleSpec", "StepSchedule"]


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
