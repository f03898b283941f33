# ruff: noqa: ANN001 - parameters are what their decorators list

from __future__ import annotations

import multiprocessing
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest

from dropout_service.kernels import dropout, parallel

SIZE = (1 << 19) + 77


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_ranges_cover_everything_once_and_start_aligned(threads):
    seen: list[tuple[int, int]] = []
    parallel.run(lambda start, stop: seen.append((start, stop)), 10_007, align=64, grain=500, threads=threads)
    seen.sort()
    assert seen[0][0] == 0
    assert seen[-1][1] == 10_007
    assert all(before[1] == after[0] for before, after in pairwise(seen))
    assert all(start % 64 == 0 for start, _ in seen)
    assert (len(seen) == 1) == (threads == 1)


def test_a_small_range_runs_in_the_caller():
    names: list[str] = []
    parallel.run(
        lambda _start, _stop: names.append(threading.current_thread().name), 900, align=64, grain=500, threads=8
    )
    assert names == [threading.current_thread().name]


def test_helpers_take_part():
    together = threading.Barrier(2, timeout=30)

    def work(start: int, _stop: int) -> None:
        if start in {0, 512}:  # the two chunks wait for each other: only two threads get past them
            together.wait()

    parallel.run(work, 1024, align=64, grain=512, threads=2)
    assert not together.broken


def test_a_fault_in_any_chunk_reaches_the_caller():
    def work(start: int, _stop: int) -> None:
        if start == 640:
            message = "chunk 640"
            raise RuntimeError(message)

    for _ in range(50):
        with pytest.raises(RuntimeError, match="chunk 640"):
            parallel.run(work, 1024, align=64, grain=64, threads=4)


def test_the_process_wide_number_of_threads():
    before = parallel.threads_in_use()
    try:
        parallel.set_threads(0)
        assert parallel.threads_in_use() == 1
        parallel.set_threads(5)
        assert parallel.threads_in_use() == 5
    finally:
        parallel.set_threads(before)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_result_does_not_depend_on_the_number_of_threads(dtype):
    x = np.random.default_rng(0).normal(size=SIZE).astype(dtype)
    mask = np.random.default_rng(1).random((SIZE // 3, 1)) < 0.5
    rows = x[: SIZE // 3 * 3].reshape(-1, 3)
    alone = dropout.forward(x, 0.3, seed=1, threads=1)
    alone_masked = dropout.forward(rows, 0.3, seed=1, mask=mask, threads=1)
    alone_mask = dropout.keep_mask(SIZE, 0.3, seed=1, threads=1)
    for threads in (2, 3, 7, None):
        np.testing.assert_array_equal(dropout.forward(x, 0.3, seed=1, threads=threads), alone)
        np.testing.assert_array_equal(dropout.forward(rows, 0.3, seed=1, mask=mask, threads=threads), alone_masked)
        np.testing.assert_array_equal(dropout.keep_mask(SIZE, 0.3, seed=1, threads=threads), alone_mask)


def test_many_callers_at_once():
    x = np.random.default_rng(0).normal(size=SIZE).astype(np.float32)
    expected = [dropout.forward(x, 0.3, seed=seed, threads=1) for seed in range(8)]
    together = threading.Barrier(8, timeout=30)

    def call(seed: int) -> bool:
        together.wait()
        return all(np.array_equal(dropout.forward(x, 0.3, seed=seed, threads=3), expected[seed]) for _ in range(10))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(call, range(8)))


@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_a_forked_child_has_helpers_of_its_own():
    test_helpers_take_part()  # the parent's helpers exist from here on
    child = multiprocessing.get_context("fork").Process(target=test_helpers_take_part)
    child.start()
    child.join(60)
    assert child.exitcode == 0
