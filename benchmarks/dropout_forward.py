"""Dropout forward and backward against PyTorch, against plain NumPy, and against a pass that only doubles.

    python benchmarks/dropout_forward.py [--threads 1 2] [--rounds 9] [--sizes 16 20 24]

Every contender runs in each round, one after the other: a pause (an OpenMP team goes on spinning for some milliseconds
after its work, on the core that the next contender needs), calls to warm up, and the median of up to 25 calls. A figure
is the median over the rounds, a ratio the median of the rounds' ratios. One line a figure: ``name value unit``.

``ours`` writes into an array that is there, ``ours_allocating`` returns a new one, as PyTorch does. From 32 MB on its
memory is what an earlier result left behind; that of ``ours_fresh`` is NumPy's, and cleared by the system.

PyTorch's backward from a stored mask is measured in three forms: as its users get it (``torch.autograd.grad``, from the
float mask that its dropout stores on a CPU), as the operator for boolean masks, and as the bare product with a float
mask, written into an array that is there. Other formats are told by their time over that of float32, with 2 and 0.5
times as many bytes, and by their speed over PyTorch's ``out = 2 * x`` in the same format: the 16-bit ones have to be
converted, which takes its time whatever is done with them.

The ceiling is the fastest of three parallel ``out = 2 * x`` passes: our own team, Numba's prange, and PyTorch.
"""

# ruff: noqa: E402 - the environment is set before NumPy is loaded

from __future__ import annotations

import argparse
import os
import statistics
from struct import Struct
from typing import TYPE_CHECKING, Any

for variable in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(variable, None)

import ml_dtypes
import numba
import numpy as np
import torch
from llvmlite import ir
from numba import carray, njit, prange, types

import machine
from dropout_service.kernels.codegen.intrinsics import emits, unpacks
from dropout_service.kernels.dropout import standard
from dropout_service.kernels.runtime import parallel
from timing import in_turns, seconds

if TYPE_CHECKING:
    from collections.abc import Callable

RATE = 0.3
TINY = (1, 10, 100, 1000)
FORMATS = (np.float64, np.float16, ml_dtypes.bfloat16)

ADDRESSES = Struct("qq")
unpack = unpacks(ADDRESSES)


@emits(types.CPointer(types.float32)(types.int64))
def floats(_context: Any, builder: Any, address: Any) -> Any:
    return builder.inttoptr(address, ir.FloatType().as_pointer())


@njit(nogil=True)
def double_part(arguments: int, start: int, stop: int) -> None:
    x_address, y_address = unpack(arguments)
    x, y = carray(floats(x_address), stop)[start:], carray(floats(y_address), stop)[start:]
    for i in range(x.size):
        y[i] = np.float32(2) * x[i]


@njit(nogil=True, parallel=True)
def double_prange(x: Any, y: Any) -> None:
    for i in prange(x.size):
        y[i] = np.float32(2) * x[i]


def contenders(size: int, threads: int) -> dict[str, Callable[[], object]]:
    rng = np.random.default_rng(0)
    x = rng.random(size, np.float32)
    y, gradient = np.zeros_like(x), np.ones_like(x)
    x_torch, y_torch, gradient_torch = (torch.from_numpy(array) for array in (x, y, gradient))
    stored = torch.from_numpy(standard.keep_mask(size, RATE, seed=1))
    scale = standard.scale(RATE)
    product = stored * scale
    leaf = x_torch.detach().requires_grad_()
    dropped = torch.nn.functional.dropout(leaf, RATE)
    generator = np.random.default_rng(1)

    addresses = ADDRESSES.pack(x.ctypes.data, y.ctypes.data)

    def double() -> None:
        parallel.run(double_part, addresses, size, grain=1 << 15, threads=threads)

    def plain_numpy() -> object:
        mask = generator.random(size, np.float32) >= RATE
        return np.multiply(x * mask, np.float32(scale), out=y)

    calls: dict[str, Callable[[], object]] = {
        "ours": lambda: standard.forward(x, RATE, seed=1, out=y, threads=threads),
        "ours_allocating": lambda: standard.forward(x, RATE, seed=1, threads=threads),
        "ours_fresh": lambda: standard.forward(x, RATE, seed=1, out=np.empty_like(x), threads=threads),
        "torch": lambda: torch.nn.functional.dropout(x_torch, RATE),
        "numpy": plain_numpy,
        "double_team": double,
        "double_prange": lambda: double_prange(x, y),
        "double_torch": lambda: torch.mul(x_torch, 2, out=y_torch),
        "backward_ours": lambda: standard.backward(gradient, RATE, seed=1, out=y, threads=threads),
        "backward_ours_allocating": lambda: standard.backward(gradient, RATE, seed=1, threads=threads),
        "backward_torch": lambda: torch.autograd.grad(dropped, leaf, gradient_torch, retain_graph=True),
        "backward_torch_boolean": lambda: torch.ops.aten.native_dropout_backward(gradient_torch, stored, scale),
        "backward_torch_product": lambda: torch.mul(gradient_torch, product, out=y_torch),
    }
    for format_ in FORMATS:
        one, out = x.astype(format_), np.zeros(size, format_)
        for run in (standard.forward, standard.backward):
            calls[f"{run.__name__}_{out.dtype.name}"] = lambda run=run, one=one, out=out: run(
                one, RATE, seed=1, out=out, threads=threads
            )
        source = x_torch.to(getattr(torch, out.dtype.name))
        target = torch.zeros_like(source)
        calls[f"double_{out.dtype.name}"] = lambda source=source, target=target: torch.mul(source, 2, out=target)
    return calls


RATIOS = {
    "forward_over_torch": ("torch", "ours"),
    "forward_allocating_over_torch": ("torch", "ours_allocating"),
    "forward_fresh_over_torch": ("torch", "ours_fresh"),
    "forward_over_numpy": ("numpy", "ours"),
    "forward_over_double_team": ("double_team", "ours"),
    "forward_over_double_prange": ("double_prange", "ours"),
    "forward_over_double_torch": ("double_torch", "ours"),
    "forward_over_double_best": ("double_best", "ours"),
    "backward_over_torch": ("backward_torch", "backward_ours"),
    "backward_allocating_over_torch": ("backward_torch", "backward_ours_allocating"),
    "backward_allocating_over_torch_boolean": ("backward_torch_boolean", "backward_ours_allocating"),
    "backward_over_torch_product": ("backward_torch_product", "backward_ours"),
} | {
    f"{run}_{name}_time_over_float32": (f"{run}_{name}", ours)
    for name in ("float64", "float16", "bfloat16")
    for run, ours in (("forward", "ours"), ("backward", "backward_ours"))
}
RATIOS |= {
    f"forward_{name}_over_double": (f"double_{name}", f"forward_{name}") for name in ("float64", "float16", "bfloat16")
}


def measure(exponent: int, threads: int, rounds: int) -> None:
    size = 1 << exponent
    torch.set_num_threads(threads)
    numba.set_num_threads(threads)
    calls = contenders(size, threads)
    taken = in_turns(calls, rounds)
    for one in taken:
        one["double_best"] = min(one[name] for name in ("double_team", "double_prange", "double_torch"))
    prefix = f"2^{exponent}_threads{threads}"
    for name in (*calls, "double_best"):
        rate = size / statistics.median(one[name] for one in taken) / 1e6
        print(f"{prefix}_{name} {rate:.0f} million_elements/s")
    for name, (peer, ours) in RATIOS.items():
        print(f"{prefix}_{name} {statistics.median(one[peer] / one[ours] for one in taken):.2f} ratio")


def measure_tiny(rounds: int) -> None:
    """Measure what a call costs apart from its elements."""
    torch.set_num_threads(1)
    for size in TINY:
        x = np.ones(size, np.float32)
        x_torch = torch.from_numpy(x)
        calls = {
            "ours_allocating": lambda x=x: standard.forward(x, RATE, seed=1),
            "torch": lambda x=x_torch: torch.nn.functional.dropout(x, RATE),
        }
        taken = [{name: seconds(call) for name, call in calls.items()} for _ in range(rounds)]
        for name in calls:
            print(f"{size}_elements_{name} {statistics.median(one[name] for one in taken) * 1e6:.2f} us")
        ratio = statistics.median(one["torch"] / one["ours_allocating"] for one in taken)
        print(f"{size}_elements_forward_allocating_over_torch {ratio:.2f} ratio")


def main() -> None:
    parser = argparse.ArgumentParser(description="dropout against its peers")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--sizes", type=int, nargs="+", default=[16, 20, 24], help="exponents of two")
    options = parser.parse_args()
    machine.describe(cores=max(options.threads))
    measure_tiny(options.rounds)
    for exponent in options.sizes:
        for threads in options.threads:
            measure(exponent, threads, options.rounds)


if __name__ == "__main__":
    main()
