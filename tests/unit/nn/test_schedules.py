from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from dropout_service.nn.schedules import SCHEDULES, warm_up

OPTIONS = {
    "constant": {},
    "step": {"every_epochs": 3, "factor": 0.5},
    "exponential": {"factor": 0.9},
    "cosine": {"final_factor": 0.1},
}


def test_the_table_is_tested_as_a_whole():
    assert set(OPTIONS) == set(SCHEDULES)


@pytest.mark.parametrize(("name", "options"), OPTIONS.items())
def test_a_schedule_starts_at_one_and_never_rises(name: str, options: dict[str, Any]):
    schedule = SCHEDULES[name](epochs=10, **options)
    factors = [schedule(i / 4) for i in range(41)]
    assert factors[0] == 1
    assert all(later <= earlier for earlier, later in pairwise(factors))


@pytest.mark.parametrize(
    ("name", "time", "factor"),
    [
        ("constant", 9.9, 1.0),
        ("step", 2.99, 1.0),
        ("step", 3.0, 0.5),
        ("step", 6.5, 0.25),
        ("exponential", 0.99, 1.0),
        ("exponential", 2.0, 0.81),
        ("cosine", 5.0, 0.55),
        ("cosine", 10.0, 0.1),
        ("cosine", 12.0, 0.1),
    ],
)
def test_known_values(name: str, time: float, factor: float):
    assert SCHEDULES[name](epochs=10, **OPTIONS[name])(time) == pytest.approx(factor, rel=1e-12)


@pytest.mark.parametrize(("name", "options"), OPTIONS.items())
def test_warm_up_rises_to_the_start_of_the_schedule(name: str, options: dict[str, Any]):
    plain = SCHEDULES[name](epochs=8, **options)
    warm = warm_up(plain, epochs=2, step_size=0.25)
    rise = [warm(i * 0.25) for i in range(8)]
    assert rise == pytest.approx([(i + 1) / 8 for i in range(8)])
    for i in range(8, 40):
        assert warm(i * 0.25) == plain(i * 0.25 - 2)


def test_without_warm_up_the_schedule_is_unchanged():
    plain = SCHEDULES["cosine"](epochs=8, final_factor=0.0)
    assert warm_up(plain, epochs=0, step_size=0.25) is plain


def test_a_cosine_without_time_left_is_at_its_end():
    assert SCHEDULES["cosine"](epochs=0, final_factor=0.2)(0.0) == 0.2
