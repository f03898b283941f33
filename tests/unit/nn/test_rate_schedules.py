from __future__ import annotations

import math

import pytest

from dropout_service.nn.rate_schedules import RATE_SCHEDULES

OPTIONS = {
    "linear": {"start": 0.1, "over_epochs": None},
    "curriculum": {"gamma": 10.0},
    "early": {"first_epochs": 3},
    "late": {"first_epochs": 3},
}


@pytest.mark.parametrize("name", RATE_SCHEDULES)
def test_rates_stay_between_0_and_the_largest_given(name: str):
    schedule = RATE_SCHEDULES[name](0.6, epochs=7, **OPTIONS.get(name, {}))
    assert all(0 <= schedule(step / 10) <= 0.6 for step in range(100))


def test_constant_stays():
    assert {RATE_SCHEDULES["constant"](0.3, epochs=9)(time) for time in (0, 4.5, 9)} == {0.3}


@pytest.mark.parametrize(
    ("start", "over", "expected"),
    [(0.0, None, [0.0, 0.2, 0.4, 0.4]), (0.8, None, [0.8, 0.6, 0.4, 0.4]), (0.0, 5, [0.0, 0.4, 0.4, 0.4])],
)
def test_linear_goes_from_start_to_the_rate(start: float, over: int | None, expected: list[float]):
    schedule = RATE_SCHEDULES["linear"](0.4, epochs=10, start=start, over_epochs=over)
    assert [schedule(time) for time in (0, 5, 10, 12)] == pytest.approx(expected)


def test_curriculum_is_the_papers():
    """Morerio et al.: theta(t) = (1 - theta) exp(-gamma t) + theta is the probability of keeping."""
    theta, gamma, epochs = 0.5, 3.0, 20
    schedule = RATE_SCHEDULES["curriculum"](1 - theta, epochs=epochs, gamma=gamma)
    for time in (0.0, 0.25, 7.0, 20.0):
        keep_prob = (1 - theta) * math.exp(-gamma * time / epochs) + theta
        assert schedule(time) == pytest.approx(1 - keep_prob, abs=1e-15)
    assert schedule(0.0) == 0


def test_early_and_late_change_at_an_epoch_and_are_opposites():
    early, late = (RATE_SCHEDULES[name](0.4, epochs=10, first_epochs=3) for name in ("early", "late"))
    assert [early(time) for time in (0, 2.99, 3, 9)] == [0.4, 0.4, 0.0, 0.0]
    assert [late(time) for time in (0, 2.99, 3, 9)] == [0.0, 0.0, 0.4, 0.4]
