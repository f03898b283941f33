"""How a call is timed beside its peers: each in its turn, after a pause, by the median of calls in a row."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CALLS = 25
WARMING_CALLS = 6
ENOUGH_S = 0.1
PAUSE_S = 0.02


def seconds(call: Callable[[], object]) -> float:
    """Return the median of calls in a row: 25 after six to warm up, but fewer where they take long."""
    time.sleep(PAUSE_S)
    taken_s: list[float] = []
    begin_s = before_s = time.perf_counter()
    while len(taken_s) < WARMING_CALLS + CALLS and (before_s - begin_s < ENOUGH_S or len(taken_s) < 2):
        call()
        after_s = time.perf_counter()
        taken_s.append(after_s - before_s)
        before_s = after_s
    return statistics.median(taken_s[min(WARMING_CALLS, len(taken_s) // 2) :])


def in_turns(calls: Mapping[str, Callable[[], object]], rounds: int) -> list[dict[str, float]]:
    """Return the seconds of each call in each round. Each round begins with another: the peer before one matters."""
    names = list(calls)
    taken: list[dict[str, float]] = []
    for turn in range(rounds):
        first = turn % len(names)
        taken.append({name: seconds(calls[name]) for name in names[first:] + names[:first]})
    return taken
