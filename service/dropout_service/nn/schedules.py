"""Learning-rate schedules: pure functions from training time, in epochs, to a factor of the initial rate."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    Schedule = Callable[[float], float]

__all__ = ["SCHEDULES", "warm_up"]


def constant(*, epochs: float) -> Schedule:
    """Factor 1 throughout."""
    del epochs
    return lambda _time: 1.0


def step(*, epochs: float, every_epochs: int, factor: float) -> Schedule:
    """``factor ** floor(time / every_epochs)``."""
    del epochs
    return lambda time: factor ** math.floor(time / every_epochs)


def exponential(*, epochs: float, factor: float) -> Schedule:
    """``factor ** floor(time)``: the rate changes between epochs, not within one."""
    del epochs
    return lambda time: factor ** math.floor(time)


def cosine(*, epochs: float, final_factor: float) -> Schedule:
    """Half a cosine from 1 at time 0 to ``final_factor`` at ``epochs``, moving with every step.

    Loshchilov and Hutter (2017), "SGDR: stochastic gradient descent with warm restarts" (without restarts).
    """

    def factor(time: float) -> float:
        done = min(time / epochs, 1.0) if epochs > 0 else 1.0
        return final_factor + (1.0 - final_factor) * 0.5 * (1.0 + math.cos(math.pi * done))

    return factor


SCHEDULES: dict[str, Callable[..., Schedule]] = {
    "constant": constant,
    "step": step,
    "exponential": exponential,
    "cosine": cosine,
}


def warm_up(schedule: Schedule, *, epochs: float, step_size: float) -> Schedule:
    """Precede ``schedule`` by a linear rise; its own clock starts when the rise is over.

    Parameters
    ----------
    schedule
        What follows.
    epochs
        Length of the rise (0: none).
    step_size
        Length of one step in epochs: the first step already has a rate above 0, the last of the rise the full one.
    """
    if epochs == 0:
        return schedule
    # Times are multiples of step_size up to rounding; half a step of slack decides on which side one falls.
    return lambda time: (
        min((time + step_size) / epochs, 1.0) if time < epochs - step_size / 2 else schedule(max(time - epochs, 0.0))
    )
