"""Dropout forward and backward against PyTorch, against plain NumPy, and against a pass that only doubles.

    python benchmarks/dropout_forward.py [--threads 2] [--rounds 9] [--sizes 20 24]

Every contender runs in each round, one after the other, with a pause between (an OpenMP team goes on spinning for some
milliseconds after its work, on the core that the next contender needs), a call to warm up, and the median of a few
calls in a row; a figure is the median over the rounds, a ratio the median of the rounds' ratios. One line a figure:
``name value unit``.

The ceiling is the fastest of three parallel ``out = 2 * x`` passes: our own pool, Numba's prange, and PyTorch.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from typing import TYPE_CHECKING, Any

for variable in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(variable, None)

import numba  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from numba import njit, prange  # noqa: E402

from dropout_service.kernels import dropout, parallel  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

RATE = 0.3
CALLS = 3
PAUSE_S = 0.02


@njit(nogil=True)
def double_part(x: Any, y: Any) -> None:
    for i in range(x.size):
        y[i] = np.float32(2) * x[i]


@njit(nogil=True, parallel=True)
def double_prange(x: Any, y: Any) -> None:
    for i in prange(x.size):
        y[i] = np.float32(2) * x[i]


def seconds(call: Callable[[], object]) -> float:
    """Return the median of a few calls in a row, after one that wakes threads and caches."""
    time.sleep(PAUSE_S)
    call()
    taken_s: list[float] = []
    for _ in range(CALLS):
        begin_s = time.perf_counter()
        call()
        taken_s.append(time.perf_counter() - begin_s)
    return statistics.median(taken_s)


def contenders(size: int, threads: int) -> dict[str, Callable[[], object]]:
    rng = np.random.default_rng(0)
    x = rng.random(size, np.float32)
    y, gradient = np.zeros_like(x), np.ones_like(x)
    x_torch, y_torch, gradient_torch = (torch.from_numpy(array) for array in (x, y, gradient))
    stored = torch.from_numpy(dropout.keep_mask(size, RATE, seed=1))
    scale = dropout.scale(RATE)
    generator = np.random.default_rng(1)

    def double() -> None:
        parallel.run(
            lambda start, stop: double_part(x[start:stop], y[start:stop]),
            size,
            align=64,
            grain=1 << 16,
            threads=threads,
        )

    def plain_numpy() -> object:
        mask = generator.random(size, np.float32) >= RATE
        return np.multiply(x * mask, np.float32(scale), out=y)

    return {
        "ours": lambda: dropout.forward(x, RATE, seed=1, out=y, threads=threads),
        "ours_allocating": lambda: dropout.forward(x, RATE, seed=1, threads=threads),
        "torch": lambda: torch.nn.functional.dropout(x_torch, RATE),
        "numpy": plain_numpy,
        "double_pool": double,
        "double_prange": lambda: double_prange(x, y),
        "double_torch": lambda: torch.mul(x_torch, 2, out=y_torch),
        "backward_ours": lambda: dropout.backward(gradient, RATE, seed=1, out=y, threads=threads),
        "backward_ours_allocating": lambda: dropout.backward(gradient, RATE, seed=1, threads=threads),
        "backward_torch": lambda: torch.ops.aten.native_dropout_backward(gradient_torch, stored, scale),
    }


RATIOS = {
    "forward_over_torch": ("torch", "ours"),
    "forward_allocating_over_torch": ("torch", "ours_allocating"),
    "forward_over_numpy": ("numpy", "ours"),
    "forward_over_double_pool": ("double_pool", "ours"),
    "forward_over_double_prange": ("double_prange", "ours"),
    "forward_over_double_torch": ("double_torch", "ours"),
    "forward_over_double_best": ("double_best", "ours"),
    "backward_over_torch": ("backward_torch", "backward_ours"),
    "backward_allocating_over_torch": ("backward_torch", "backward_ours_allocating"),
}


def measure(exponent: int, threads: int, rounds: int) -> None:
    size = 1 << exponent
    torch.set_num_threads(threads)
    numba.set_num_threads(threads)
    calls = contenders(size, threads)
    taken: list[dict[str, float]] = []
    for _ in range(rounds):
        one = {name: seconds(call) for name, call in calls.items()}
        one["double_best"] = min(one[name] for name in ("double_pool", "double_prange", "double_torch"))
        taken.append(one)
    prefix = f"2^{exponent}_threads{threads}"
    for name in taken[0]:
        rate = size / statistics.median(one[name] for one in taken) / 1e6
        print(f"{prefix}_{name} {rate:.0f} million_elements/s")
    for name, (peer, ours) in RATIOS.items():
        print(f"{prefix}_{name} {statistics.median(one[peer] / one[ours] for one in taken):.2f} ratio")


def main() -> None:
    parser = argparse.ArgumentParser(description="dropout against its peers")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--sizes", type=int, nargs="+", default=[20, 24], help="exponents of two")
    options = parser.parse_args()
    print(f"numpy {np.__version__} version")
    print(f"numba {numba.__version__} version")
    print(f"torch {torch.__version__} version")
    for exponent in options.sizes:
        for threads in options.threads:
            measure(exponent, threads, options.rounds)


if __name__ == "__main__":
    main()
