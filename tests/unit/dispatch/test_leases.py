from __future__ import annotations

import pytest

from dropout_service.dispatch.leases import LeaseWatch
from dropout_service.jobs.attempts import Attempt, Lease

ONE, OTHER = Attempt("job_1", 1), Attempt("job_2", 4)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watch(clock: Clock) -> LeaseWatch:
    return LeaseWatch(3.0, look_s=2.0, clock=clock)


def look(watch: LeaseWatch, clock: Clock, *leases: tuple[Attempt, float], after_s: float = 1.0) -> set[Attempt]:
    clock.now += after_s
    watch.look(Lease(attempt, "d", beat) for attempt, beat in leases)
    return {attempt for attempt, _ in leases if attempt in watch}


def test_an_attempt_is_spared_until_it_was_silent_under_watch(watch: LeaseWatch, clock: Clock):
    looks = [look(watch, clock, (ONE, 5.0), (OTHER, float(n))) for n in range(5)]
    assert looks == [{ONE, OTHER}, {ONE, OTHER}, {ONE, OTHER}, {OTHER}, {OTHER}]


def test_a_sign_of_life_begins_the_watch_anew_even_when_its_clock_went_back(watch: LeaseWatch, clock: Clock):
    for beat in (9.0, 9.0, 9.0, -3600.0):
        spared = look(watch, clock, (ONE, beat))
    assert spared == {ONE}


def test_time_in_which_nobody_looked_is_not_time_watched(watch: LeaseWatch, clock: Clock):
    look(watch, clock, (ONE, 5.0))
    assert look(watch, clock, (ONE, 5.0), after_s=3600.0) == {ONE}
    assert [look(watch, clock, (ONE, 5.0)) for _ in range(3)] == [{ONE}, {ONE}, set()]


def test_after_a_time_in_which_nobody_looked_the_watch_begins_anew(watch: LeaseWatch, clock: Clock):
    # What held the watcher up, such as a locked database, may have held up the one who is watched.
    for _ in range(3):
        look(watch, clock, (ONE, 5.0))
    assert look(watch, clock, (ONE, 5.0), after_s=30.0) == {ONE}
    assert [look(watch, clock, (ONE, 5.0)) for _ in range(3)] == [{ONE}, {ONE}, set()]


def test_silence_while_the_database_was_away_says_nothing(watch: LeaseWatch, clock: Clock):
    for _ in range(5):
        look(watch, clock, (ONE, 5.0))
    watch.restart()
    assert look(watch, clock, (ONE, 5.0)) == {ONE}


def test_an_attempt_that_began_after_the_last_look_is_spared(watch: LeaseWatch, clock: Clock):
    for _ in range(5):
        look(watch, clock, (ONE, 5.0))
    assert ONE not in watch
    assert OTHER in watch


def test_an_attempt_that_holds_no_job_is_forgotten(watch: LeaseWatch, clock: Clock):
    for _ in range(4):
        look(watch, clock, (ONE, 5.0))
    assert look(watch, clock) == set()
    assert look(watch, clock, (ONE, 5.0)) == {ONE}
