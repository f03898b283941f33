"""Schedules of the dropout rate: pure functions from training time, in epochs, to the rate.

Time moves with every step: after ``b`` of the ``n`` mini-batches of an epoch it is ``epoch + b / n``. The rate is a
function of the position alone, so a resumed training has the rates of an uninterrupted one.

========== ======================================================================================================
schedule   paper
========== ======================================================================================================
linear     Zoph et al. (2018), "Learning transferable architectures for scalable image recognition" (rising);
           Rennie, Goel and Thomas (2014), "Annealed dropout training of deep networks" (falling)
curriculum Morerio et al. (2017), "Curriculum dropout"
early,     Liu et al. (2023), "Dropout reduces underfitting"
late
========== ======================================================================================================
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    RateSchedule = Callable[[float], float]

__all__ = ["RATE_SCHEDULES"]


def constant(rate: float, *, epochs: int) -> RateSchedule:
    """``rate`` throughout."""
    del epochs
    return lambda _time: rate


def linear(rate: float, *, epochs: int, start: float, over_epochs: int | None) -> RateSchedule:
    """On a straight line from ``start`` to ``rate``, reached after ``over_epochs`` (all of them), and kept."""
    length = epochs if over_epochs is None else over_epochs
    return lambda time: start + (rate - start) * min(time / length, 1.0)


def curriculum(rate: float, *, epochs: int, gamma: float) -> RateSchedule:
    """``rate (1 - exp(-gamma time / epochs))``: from 0 towards ``rate``, fast at first.

    In the paper's terms, with theta = 1 - rate: theta(t) = (1 - theta) exp(-gamma t) + theta.
    """
    return lambda time: -rate * math.expm1(-gamma * time / epochs)


def early(rate: float, *, epochs: int, first_epochs: int) -> RateSchedule:
    """``rate`` during the first epochs, 0 after them: against underfitting."""
    del epochs
    return lambda time: rate if time < first_epochs else 0.0


def late(rate: float, *, epochs: int, first_epochs: int) -> RateSchedule:
    """0 during the first epochs, ``rate`` after them: against overfitting."""
    del epochs
    return lambda time: 0.0 if time < first_epochs else rate


RATE_SCHEDULES: dict[str, Callable[..., RateSchedule]] = {
    "constant": constant,
    "linear": linear,
    "curriculum": curriculum,
    "early": early,
    "late": late,
}
