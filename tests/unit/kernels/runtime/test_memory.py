"""Large results: two blocks of memory are kept for the next of them, and never given to two at once."""

from __future__ import annotations

import gc
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np
import pytest

from dropout_service.kernels.dropout import standard
from dropout_service.kernels.runtime import memory
from dropout_service.kernels.variants import VARIANTS

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(not memory._HAS_ADVICE, reason="the system has no advice on memory")

SMALL = 1 << 12


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(memory, "_LEAST_BYTES", SMALL)
    monkeypatch.setattr(memory, "_MOST_BYTES", 1 << 23)
    memory._spare.clear()
    yield
    gc.collect()
    memory._spare.clear()


@pytest.mark.parametrize(
    "dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64], ids=lambda dtype: dtype.__name__
)
@pytest.mark.parametrize("shape", [(5000,), (100, 3, 50), (1 << 20,)], ids=str)
def test_a_new_array_is_like_any_other(dtype: type, shape: tuple[int, ...]):
    x = np.zeros(shape, dtype)
    y = memory.empty_like(x)
    assert (y.shape, y.dtype) == (x.shape, x.dtype)
    assert y.flags.c_contiguous
    assert y.flags.writeable
    assert y.flags.aligned
    y[...] = 3
    assert (y == 3).all()


def test_the_layout_is_that_of_c_whatever_the_example_has():
    y = memory.empty_like(np.zeros((80, 90)).T)
    assert y.shape == (90, 80)
    assert y.flags.c_contiguous


def test_a_block_comes_back_when_its_last_array_is_gone():
    x = np.zeros(5000)
    first = memory.empty_like(x)
    place = memory.address(first)
    part = first[10:20]
    del first
    other = memory.empty_like(x)
    assert memory.address(other) != place  # a view still holds the block
    del part
    again = memory.empty_like(x)
    assert memory.address(again) == place


def test_arrays_that_live_at_once_share_nothing():
    x = np.zeros(5000)
    arrays = [memory.empty_like(x) for _ in range(5)]
    for number, array in enumerate(arrays):
        array[:] = number
    assert [np.unique(array).tolist() for array in arrays] == [[0], [1], [2], [3], [4]]
    del arrays, array
    assert len(memory._spare) == 2  # what more blocks held went back to the system


def test_a_block_of_another_size_is_not_kept():
    a, b = np.zeros(5000), np.zeros(1 << 19)
    memory.empty_like(a)
    assert len(memory._spare[0]) == 1 << 21
    memory.empty_like(b)
    assert [len(block) for block in memory._spare] == [1 << 22]


@pytest.mark.parametrize("size_bytes", [SMALL - 1, (1 << 23) + 1])
def test_smaller_and_larger_results_are_left_to_numpy(size_bytes: int):
    y = memory.empty_like(np.zeros(size_bytes, np.uint8))
    assert y.flags.owndata
    del y
    assert not memory._spare


def test_a_result_stays_what_it_is_while_others_come_and_go():
    x = np.ones(5000, np.float32)
    kept = standard.forward(x, 0.5, seed=1)
    expected = kept.copy()
    for seed in range(2, 6):
        standard.forward(x, 0.5, seed=seed)
        VARIANTS["gaussian"].forward(x, 0.5, seed=seed)
        standard.backward(x, 0.5, seed=seed)
    np.testing.assert_array_equal(kept, expected)


def test_threads_may_ask_at_once():
    x = np.ones(5000, np.float32)
    expected = {seed: standard.forward(x, 0.5, seed=seed).copy() for seed in range(4)}
    wrong: list[int] = []

    def ask(seed: int) -> None:
        same = all(np.array_equal(standard.forward(x, 0.5, seed=seed), expected[seed]) for _ in range(200))
        if not same:
            wrong.append(seed)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(memory._spare) <= 2


def test_no_memory_is_lost():
    x = np.ones(1 << 20, np.float32)  # 4 MB
    standard.forward(x, 0.5, seed=1)

    def mapped_bytes() -> int:
        return int(Path(f"/proc/{os.getpid()}/statm").read_text(encoding="ascii").split()[0]) * 4096

    before = mapped_bytes()
    for seed in range(100):
        standard.forward(x[: (1 << 20) - seed % 2 * 600_000], 0.5, seed=seed)  # of two sizes, so that blocks change
    assert mapped_bytes() - before < 20 << 20


@pytest.mark.parametrize(("size_bytes", "kept"), [(31, False), (32, True), (128, True), (129, False)])
def test_what_is_kept_without_a_test_that_says_otherwise(
    size_bytes: int,
    kept: bool,  # noqa: FBT001 - what the decorator lists
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.undo()
    x = np.broadcast_to(np.uint8(0), (size_bytes << 20,))  # no memory of its own, nor is the result's ever touched
    assert memory.empty_like(x).flags.owndata is not kept


def test_where_no_mapping_is_to_be_had_numpy_is_asked(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(memory, "_PAGE_BYTES", 1 << 60)  # more than there is
    y = memory.empty_like(np.zeros(5000))
    assert y.shape == (5000,)
    assert y.flags.owndata


def test_the_system_may_take_an_idle_block():
    x = np.zeros(1 << 18)
    y = memory.empty_like(x)
    y[:] = 1
    place = memory.address(y)
    assert lazily_free_bytes(place) == 0
    del y
    assert lazily_free_bytes(place) >= x.nbytes


def lazily_free_bytes(place: int) -> int:
    """Return how much of a mapping the system may take back, as it says itself."""
    lines = iter(Path("/proc/self/smaps").read_text(encoding="ascii").splitlines())
    for line in lines:
        begin, dash, end = line.split()[0].partition("-")
        if dash and int(begin, 16) <= place < int(end, 16):
            return next(int(line.split()[1]) << 10 for line in lines if line.startswith("LazyFree:"))
    message = f"nothing is mapped at {place:#x}"
    raise AssertionError(message)
