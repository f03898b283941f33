"""Dropout's forward pass in the frameworks that are installed, and the memory that each call takes.

    python benchmarks/frameworks.py [--threads 1 2] [--rounds 5] [--sizes 16 20 24]

Then, with one thread, every variant that PyTorch has on arrays of 1 to 1,000 elements, ours through the table of
variants: there it is the call that takes the time. The two have their turns one after the other.

float32, rate 0.3. Every contender allocates its result. Each number of threads is a process of its own that may run on
as many CPUs, because JAX takes its number of threads from that. In each round every contender has its turn: a pause, a
call to warm up, the median of some calls; a figure is the median over the rounds, a ratio the median of the rounds'
ratios. ``training`` is forward and backward together, for which PyTorch stores a mask. Memory is the highest resident
size during one call, less that before it; what an arena of a framework's own holds back (ONNX Runtime's) does not show.
One line a figure: ``name value unit``; a framework that is not installed, or fails, is said to be absent.
"""

# ruff: noqa: PLC0415 - contenders are imported on the CPUs they may use

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import statistics
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import machine

if TYPE_CHECKING:
    from collections.abc import Callable

    Call = Callable[[], object]

RATE = 0.3
CALLS, ENOUGH_S, PAUSE_S = 15, 0.1, 0.02
SMALL_CALLS, SMALL_TURNS = 100, 10  # many short turns: the clock of the CPU is not the same in all of them
SMALL = {
    "standard": ("dropout", [(1,), (10,), (100,), (1000,)]),
    "feature1d": ("dropout1d", [(1, 1, 1), (1, 2, 5), (1, 10, 10), (4, 10, 25)]),
    "feature2d": ("dropout2d", [(1, 1, 1, 1), (1, 2, 1, 5), (1, 4, 5, 5), (4, 10, 5, 5)]),
    "feature3d": ("dropout3d", [(1, 1, 1, 1, 1), (1, 2, 1, 1, 5), (1, 4, 1, 5, 5), (1, 8, 5, 5, 5)]),
    "alpha": ("alpha_dropout", [(1,), (10,), (100,), (1000,)]),
    "feature_alpha": ("feature_alpha_dropout", [(1, 1, 1), (1, 2, 5), (1, 10, 10), (4, 10, 25)]),
}
"""Variants, PyTorch's name of each, and the shapes."""


def ours(x: Any, threads: int) -> Call:
    from dropout_service.kernels.dropout import standard

    return lambda: standard.forward(x, RATE, seed=1, threads=threads)


def numpy_textbook(x: Any, _threads: int) -> Call:
    import numpy as np

    generator = np.random.default_rng(1)
    return lambda: x * (generator.random(x.shape, np.float32) >= RATE) / np.float32(1 - RATE)


def ours_training(x: Any, threads: int) -> Call:
    import numpy as np

    from dropout_service.kernels.dropout import standard

    gradient = np.ones_like(x)

    def both() -> object:
        y = standard.forward(x, RATE, seed=1, threads=threads)
        return y, standard.backward(gradient, RATE, seed=1, threads=threads)

    return both


def torch_training(x: Any, threads: int) -> Call:
    import torch

    torch.set_num_threads(threads)
    leaf, gradient = torch.from_numpy(x).requires_grad_(), torch.ones(x.size)

    def both() -> object:
        y = torch.nn.functional.dropout(leaf, RATE)
        return y, torch.autograd.grad(y, leaf, gradient)

    return both


def torch_eager(x: Any, threads: int) -> Call:
    import torch

    torch.set_num_threads(threads)
    x = torch.from_numpy(x)
    return lambda: torch.nn.functional.dropout(x, RATE)


def torch_compile(x: Any, threads: int) -> Call:
    import torch

    torch.set_num_threads(threads)
    x = torch.from_numpy(x)
    compiled = torch.compile(lambda x: torch.nn.functional.dropout(x, RATE), dynamic=False)
    return lambda: compiled(x)


def jax(x: Any, _threads: int) -> Call:
    import jax

    @jax.jit
    def drop(x: Any, key: Any) -> Any:
        kept = jax.random.bernoulli(key, 1 - RATE, x.shape)
        return jax.numpy.where(kept, x / (1 - RATE), 0)

    x, key = jax.numpy.asarray(x), jax.random.key(1)
    return lambda: drop(x, key).block_until_ready()


def onnxruntime(x: Any, threads: int) -> Call:
    import numpy as np
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    constants = [
        numpy_helper.from_array(np.array(value), name)
        for name, value in (("rate", np.float32(RATE)), ("training", np.True_))
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, x.shape) for name in "xy"]
    node = helper.make_node("Dropout", ["x", "rate", "training"], ["y"])
    graph = helper.make_graph([node], "dropout", values[:1], values[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"x": x})


CONTENDERS = {
    one.__name__: one
    for one in (ours, torch_eager, torch_compile, jax, onnxruntime, numpy_textbook, ours_training, torch_training)
}


def seconds(call: Call, calls: int = CALLS, pause_s: float = PAUSE_S) -> float:
    """Return the median of calls in a row, after one to warm up."""
    time.sleep(pause_s)
    call()
    taken_s: list[float] = []
    begin_s = time.perf_counter()
    while len(taken_s) < calls and (not taken_s or time.perf_counter() - begin_s < ENOUGH_S):
        before_s = time.perf_counter()
        call()
        taken_s.append(time.perf_counter() - before_s)
    return statistics.median(taken_s)


def resident_bytes(name: str) -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(name)) * 1024


def peak_bytes(call: Call) -> int:
    """Return what one call adds to the resident size at its peak."""
    from dropout_service.kernels.runtime import memory

    gc.collect()
    memory._spare.clear()  # noqa: SLF001 - else what an earlier call freed would be used again unseen
    ctypes.CDLL(None).malloc_trim(0)  # as above
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak is the present size again
    before = resident_bytes("VmRSS")
    result = call()
    peak = resident_bytes("VmHWM") - before
    del result
    return max(peak, 0)


def prepared(x: Any, threads: int) -> dict[str, Call]:
    """Return the contenders that work here, each called once."""
    calls: dict[str, Call] = {}
    for name, prepare in CONTENDERS.items():
        try:
            call = prepare(x, threads)
            call()
        except Exception as fault:  # noqa: BLE001 - whatever keeps a framework from running, the others go on
            reason = next(iter(str(fault).splitlines()), "")
            print(f"2^{x.size.bit_length() - 1}_threads{threads}_{name} absent {type(fault).__name__}: {reason}")
        else:
            calls[name] = call
    return calls


def measure(exponent: int, threads: int, rounds: int) -> None:
    import numpy as np

    x = np.random.default_rng(0).random(1 << exponent, np.float32)
    calls = prepared(x, threads)
    names = list(calls)
    taken: list[dict[str, float]] = []
    for turn in range(rounds):
        first = turn % len(names)  # so that nobody always comes after the same peer
        taken.append({name: seconds(calls[name]) for name in names[first:] + names[:first]})
    prefix = f"2^{exponent}_threads{threads}"
    for name in names:
        rate = x.size / statistics.median(one[name] for one in taken) / 1e6
        print(f"{prefix}_{name} {rate:.0f} million_elements/s")
        print(f"{prefix}_{name}_memory {peak_bytes(calls[name]) / x.nbytes:.2f} times_the_array")
    for name in names[1:]:
        peer = "ours_training" if name.endswith("training") else "ours"
        if name != peer:
            print(f"{prefix}_{peer}_over_{name} {statistics.median(one[name] / one[peer] for one in taken):.2f} ratio")


def measure_small(rounds: int) -> None:
    import numpy as np

    try:
        import torch
    except ImportError as fault:
        print(f"small_torch absent {fault}")
        return
    from dropout_service.kernels.variants import VARIANTS

    torch.set_num_threads(1)
    for name, (peer, shapes) in SMALL.items():
        variant, peer_function = VARIANTS[name], getattr(torch.nn.functional, peer)
        for shape in shapes:
            x = np.ones(shape, np.float32)
            x_torch = torch.from_numpy(x)
            calls = {
                "ours": lambda: variant.forward(x, RATE, seed=1, threads=1),  # noqa: B023 - called in this round
                "torch": lambda: peer_function(x_torch, RATE, training=True),  # noqa: B023 - as above
            }
            taken = [
                {one: seconds(call, SMALL_CALLS, pause_s=0) for one, call in calls.items()}
                for _ in range(rounds * SMALL_TURNS)
            ]
            prefix = f"{x.size}_elements_{name}"
            for one in calls:
                print(f"{prefix}_{one} {statistics.median(each[one] for each in taken) * 1e6:.2f} us")
            ratio = statistics.median(each["torch"] / each["ours"] for each in taken)
            print(f"{prefix}_ours_over_torch {ratio:.2f} ratio")


def main() -> None:
    parser = argparse.ArgumentParser(description="dropout in the frameworks that are installed")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", type=int, nargs="+", default=[16, 20, 24], help="exponents of two")
    parser.add_argument("--process-of", type=int, metavar="THREADS", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.process_of is None:
        machine.describe(cores=max(options.threads), packages=("jax", "onnxruntime"))
        for threads in options.threads:
            arguments = ["--process-of", threads, "--rounds", options.rounds, "--sizes", *options.sizes]
            subprocess.run([sys.executable, __file__, *map(str, arguments)], check=True)
        return
    threads = options.process_of
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    warnings.simplefilter("ignore")  # of frameworks, about their own insides
    for exponent in options.sizes:
        measure(exponent, threads, options.rounds)
    if threads == 1:
        measure_small(options.rounds)


if __name__ == "__main__":
    main()
