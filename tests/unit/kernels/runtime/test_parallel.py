# ruff: noqa: ANN001 - parameters are what their decorators list

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from struct import Struct
from typing import TYPE_CHECKING

import numpy as np
import pytest
import reference_stream as reference
from numba import njit

from dropout_service.kernels.codegen.intrinsics import unpacks
from dropout_service.kernels.dropout import passes, standard
from dropout_service.kernels.runtime import parallel
from dropout_service.kernels.runtime.board import _add, _load

if TYPE_CHECKING:
    from collections.abc import Callable

SIZE = (1 << 19) + 77
ADDRESSES = Struct("qq")
_unpack = unpacks(ADDRESSES)


@njit(nogil=True)
def count(arguments, start, stop):
    """Count each element that is worked, and each start."""
    counts, starts = _unpack(arguments)
    _add(starts + 8 * start, 1)
    for i in range(start, stop):
        _add(counts + 8 * i, 1)


@njit(nogil=True)
def meet(arguments, _start, _stop):
    """Come in, and wait until as many have come in as are expected."""
    present, expected = _unpack(arguments)
    _add(present, 1)
    while _load(present) < expected:
        pass


@njit(nogil=True)
def crowd(arguments, start, stop):
    """Record how many threads are in here at the same time."""
    inside, most = _unpack(arguments)
    now = _add(inside, 1) + 1
    while _load(most) < now:
        _add(most, 1)
    for _ in range(20 * (stop - start)):
        _load(inside)
    _add(inside, -1)


def words(size: int = 1) -> tuple[np.ndarray, int]:
    cells = np.zeros(size, np.int64)
    return cells, cells.ctypes.data


def counted(size: int, threads: int, *, grain: int = 64, times: int = 1) -> np.ndarray:
    """Run over a range; return its starts once it is proved that each element was worked so often."""
    counts, counts_address = words(size)
    starts, starts_address = words(size)
    for _ in range(times):
        parallel.run(count, ADDRESSES.pack(counts_address, starts_address), size, grain=grain, threads=threads)
    assert (counts == times).all()
    return np.flatnonzero(starts)


def meet_helpers(threads: int) -> None:
    """Run as many chunks as threads, none of which ends before all have begun."""
    present, address = words()
    for _ in range(1000):  # a helper that fell asleep as the job was offered comes to the next one
        present[0] = 0
        worker = threading.Thread(
            target=parallel.run,
            args=(meet, ADDRESSES.pack(address, threads), 64 * 8 * threads),
            kwargs={"grain": 64, "threads": threads},
        )
        worker.start()
        worker.join(0.5)
        everybody = int(present[0]) >= threads
        present[0] = threads  # lets those go on who wait in vain
        worker.join(30)
        if everybody:
            return
    pytest.fail(f"{threads} threads never met")


@pytest.fixture
def four_cores(monkeypatch):
    monkeypatch.setattr(parallel._state, "cpus", 4)


def everybody_asleep() -> bool:
    team = parallel._state.team
    return len(team._asleep) == len(team._threads)


def wait_until(condition: Callable[[], object]) -> None:
    end_s = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.001)


@pytest.mark.usefixtures("four_cores")
@pytest.mark.parametrize("threads", [0, 1, 2, 3, 8])
@pytest.mark.parametrize("size", [1, 127, 128, 10_007])
def test_ranges_cover_everything_once_and_start_at_a_multiple_of_the_grain(threads, size):
    starts = counted(size, threads)
    assert (starts % 64 == 0).all()
    assert (starts.size == 1) == (threads < 2 or size < 128)


@pytest.mark.usefixtures("four_cores")
@pytest.mark.parametrize("threads", [2, 4])
def test_helpers_take_part(threads):
    meet_helpers(threads)


@pytest.mark.usefixtures("four_cores")
def test_helpers_sleep_when_nothing_comes_and_are_woken():
    for _ in range(3):
        meet_helpers(2)
        wait_until(everybody_asleep)


@pytest.mark.usefixtures("four_cores")
def test_helpers_are_not_woken_for_little():
    meet_helpers(2)
    wait_until(everybody_asleep)
    assert counted(64 * 7, 2).size == 7
    assert everybody_asleep()


@pytest.mark.usefixtures("four_cores")
def test_no_more_threads_than_asked_for():
    meet_helpers(4)
    for threads in (2, 3, 4):
        (_, inside), (most, address) = words(), words()
        for _ in range(200):
            parallel.run(crowd, ADDRESSES.pack(inside, address), 64 * 32, grain=64, threads=threads)
        assert 1 <= most[0] <= threads


def test_one_cpu_has_no_team(monkeypatch):
    monkeypatch.setattr(parallel._state, "cpus", 1)
    monkeypatch.setattr(parallel._state, "team", parallel._Team())
    assert counted(10_000, 8).tolist() == [0]
    assert parallel._state.team._threads == []


@pytest.mark.usefixtures("four_cores")
def test_a_caller_who_finds_the_board_taken_works_alone():
    present, address = words()
    first = threading.Thread(
        target=parallel.run, args=(meet, ADDRESSES.pack(address, 1000), 1024), kwargs={"grain": 64, "threads": 2}
    )
    first.start()
    try:
        wait_until(lambda: present[0])
        assert counted(10_000, 4).tolist() == [0]
    finally:
        present[0] = 1000
        first.join(30)
    assert counted(10_000, 4).size > 1


@pytest.mark.usefixtures("four_cores")
def test_thousands_of_small_jobs_with_changing_numbers_of_threads():
    for turn in range(40):
        for threads in (2, 1, 4, 3):
            counted(64 * 40 + turn, threads, times=25)
        if turn % 8 == 0:
            wait_until(everybody_asleep)


@pytest.mark.usefixtures("four_cores")
def test_small_draws_in_a_row_equal_the_reference(monkeypatch):
    monkeypatch.setattr(passes, "_GRAIN", 64)
    x = np.arange(1, 1001, dtype=np.float32)
    expected = [reference.dropout(x, reference.keep(x.shape, 0.3, seed=seed), 0.3) for seed in range(5)]
    for turn in range(2000):
        y = standard.forward(x, 0.3, seed=turn % 5, threads=1 + turn % 4)
        np.testing.assert_array_equal(y, expected[turn % 5])


def test_the_process_wide_number_of_threads():
    before = parallel.threads_in_use()
    try:
        parallel.set_threads(0)
        assert parallel.threads_in_use() == 1
        parallel.set_threads(5)
        assert parallel.threads_in_use() == 5
    finally:
        parallel.set_threads(before)


@pytest.mark.usefixtures("four_cores")
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_result_does_not_depend_on_the_number_of_threads(dtype):
    x = np.random.default_rng(0).normal(size=SIZE).astype(dtype)
    mask = np.random.default_rng(1).random((SIZE // 3, 1)) < 0.5
    rows = x[: SIZE // 3 * 3].reshape(-1, 3)
    alone = standard.forward(x, 0.3, seed=1, threads=1)
    alone_masked = standard.forward(rows, 0.3, seed=1, mask=mask, threads=1)
    alone_mask = standard.keep_mask(SIZE, 0.3, seed=1, threads=1)
    for threads in (2, 3, 7, None):
        np.testing.assert_array_equal(standard.forward(x, 0.3, seed=1, threads=threads), alone)
        np.testing.assert_array_equal(standard.forward(rows, 0.3, seed=1, mask=mask, threads=threads), alone_masked)
        np.testing.assert_array_equal(standard.keep_mask(SIZE, 0.3, seed=1, threads=threads), alone_mask)


@pytest.mark.usefixtures("four_cores")
def test_sixteen_callers_of_all_kernels_at_once():
    x = np.random.default_rng(0).normal(size=(SIZE // 77, 77)).astype(np.float32)
    rows = np.random.default_rng(1).random((SIZE // 77, 1)) < 0.5
    calls = [
        lambda threads: standard.forward(x, 0.3, seed=1, threads=threads),
        lambda threads: standard.backward(x, 0.4, seed=2, offset=3, threads=threads),
        lambda threads: standard.forward(x, 0.3, seed=1, mask=rows, threads=threads),
        lambda threads: standard.keep_mask(x.shape, 0.3, seed=4, threads=threads),
    ]
    expected = [call(1) for call in calls]
    together = threading.Barrier(16, timeout=30)

    def caller(index: int) -> bool:
        together.wait()
        mine = [(index + turn) % len(calls) for turn in range(8)]
        return all(np.array_equal(calls[i](1 + index % 4), expected[i]) for i in mine)

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(caller, range(16)))


@pytest.mark.usefixtures("four_cores")
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_a_forked_child_has_a_team_of_its_own():
    meet_helpers(2)  # the parent's helpers exist from here on
    child = multiprocessing.get_context("fork").Process(target=meet_helpers, args=(2,))
    child.start()
    child.join(60)
    assert child.exitcode == 0


@pytest.mark.usefixtures("four_cores")
def test_a_team_that_is_dissolved_has_no_threads_and_gets_none(monkeypatch):
    team = parallel._Team()
    monkeypatch.setattr(parallel._state, "team", team)
    meet_helpers(3)
    helpers = list(team._threads)
    assert len(helpers) == 2
    team.dissolve()
    wait_until(lambda: not any(helper.is_alive() for helper in helpers))
    counted(10_000, 4)
    assert team._threads == helpers


ENDING = """
import threading
import numpy as np
from dropout_service.kernels.dropout import standard, passes
from dropout_service.kernels.runtime import parallel

parallel._state.cpus = 4
x = np.ones(1 << 19, np.float32)
standard.forward(x, 0.3, seed=1, threads=3)

def go_on():
    while True:
        standard.forward(x, 0.3, seed=1, threads=3)

if {busy}:
    threading.Thread(target=go_on, daemon=True).start()
standard.forward(x, 0.3, seed=1, threads=3)
"""


@pytest.mark.parametrize("busy", [False, True])
def test_a_process_ends_while_helpers_are_awake(busy):
    for _ in range(3):
        answer = subprocess.run(
            [sys.executable, "-c", ENDING.format(busy=busy)], check=True, capture_output=True, text=True, timeout=60
        )
        assert answer.stderr == ""
