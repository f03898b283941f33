"""What the end of a process says about the attempt that ran in it."""

from __future__ import annotations

import signal

from dropout_service.jobs.job import Failure, StopReason

__all__ = ["explain", "explain_refusal"]

_RESUBMIT = "The job was started again from its last checkpoint each time; look at the log of the service."
_CRASHED = f"{_RESUBMIT} A library may crash when `max_memory_bytes` leaves it no memory: try more, or fewer `threads`."

_KILLED = (
    "Neither the job nor the service did it: the log of the machine may tell who did. Submit the job again, with a "
    "higher `max_attempts` if that happens often."
)


def explain(code: int | None, *, out_of_memory: bool) -> tuple[StopReason, Failure]:
    """Explain the end of a process that left no result.

    Parameters
    ----------
    code
        Exit code; negative for the number of a signal; ``None`` when it is not known.
    out_of_memory
        Whether the operating system has killed a process for want of memory meanwhile.
    """
    if code == -signal.SIGKILL and out_of_memory:
        return StopReason.OUT_OF_MEMORY, _failure(
            "out-of-memory",
            "the training process was killed because the memory of the machine or container ran out",
            "Use a smaller model, batch or dataset, run fewer jobs at once, or give the service more memory.",
        )
    if code is None or code == -signal.SIGKILL:
        return StopReason.LOST, _failure("lost", "the training process was killed from outside", _KILLED)
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        return StopReason.ERROR, _failure("crashed", f"the training process crashed ({name})", _CRASHED)
    if code == 0:
        return StopReason.LOST, _failure("lost", "the training process ended without a result", _RESUBMIT)
    return StopReason.ERROR, _failure("crashed", f"the training process ended with exit code {code}", _CRASHED)


def explain_refusal(why: str) -> tuple[StopReason, Failure]:
    """Explain that the operating system gave no process to an attempt."""
    hint = "Let more processes run on the machine or in the container, or fewer jobs at once (`workers`)."
    return StopReason.ERROR, _failure("unavailable", f"no process could be started for the training: {why}", hint)


def _failure(code: str, message: str, hint: str) -> Failure:
    return Failure(code=code, phase=None, epoch=None, message=message, hint=hint)
