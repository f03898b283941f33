"""Exceptions of an attempt as failures for the person who submitted the job."""

from __future__ import annotations

import traceback
from pathlib import Path

from dropout_service.errors import InvalidInputError, NotFoundError, ServiceError, TrainingError, without_paths
from dropout_service.jobs.job import Failure, Phase, StopReason

__all__ = ["explain_error", "safe_traceback"]

_UPLOAD_AGAIN = "Delete the dataset, upload it again, and submit the job again."
_HINTS: dict[type[ServiceError], str] = {
    NotFoundError: f"The content of the dataset was removed behind the service's back. {_UPLOAD_AGAIN}",
    InvalidInputError: f"The content is no longer what was checked when the job was submitted. {_UPLOAD_AGAIN}",
}
"""What the two errors mean that a job ends with although its specification was checked before it was accepted."""

_PACKAGE = Path(__file__).parents[1]


def explain_error(error: Exception, *, phase: Phase, epoch: int | None) -> tuple[StopReason, Failure]:
    """Say what an exception means for the job.

    Parameters
    ----------
    error
        What ended the attempt.
    phase, epoch
        What the attempt was doing.
    """
    if isinstance(error, TrainingError):
        reason = StopReason(error.reason) if error.reason in set(StopReason) else StopReason.ERROR
        code = error.reason.replace("_", "-")
        return reason, Failure(code, phase, error.epoch or epoch, error.message, error.hint)
    if isinstance(error, MemoryError):
        return StopReason.OUT_OF_MEMORY, Failure(
            code="out-of-memory",
            phase=phase,
            epoch=epoch,
            message=without_paths(str(error)) or "an allocation failed",
            hint="Use a smaller model, batch or dataset, or raise the limit: `max_memory_bytes` of the job, or "
            "DROPOUT_SERVICE_JOB_MEMORY_BYTES of the service.",
            traceback=safe_traceback(error),
        )
    if isinstance(error, ServiceError):
        return StopReason.ERROR, Failure(error.code, phase, epoch, error.message, _HINTS.get(type(error), ""))
    return StopReason.ERROR, Failure(
        code="internal-error",
        phase=phase,
        epoch=epoch,
        message=f"{type(error).__name__}: {without_paths(str(error))}",
        hint="This is a fault of the service. Please report it with the traceback.",
        traceback=safe_traceback(error),
    )


def safe_traceback(error: BaseException) -> str:
    """Format where an error came from: modules, lines and functions, but no paths of the machine and no values."""
    lines = ["Traceback (most recent call last):"]
    for frame in traceback.extract_tb(error.__traceback__):
        path = Path(frame.filename)
        name = path.relative_to(_PACKAGE.parent) if path.is_relative_to(_PACKAGE) else Path(path.name)
        lines.append(f"  {name}:{frame.lineno} in {frame.name}")
    lines.append(f"{type(error).__name__}: {without_paths(str(error))}")
    return "\n".join(lines)
