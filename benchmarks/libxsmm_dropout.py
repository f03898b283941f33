"""Dropout forward against libxsmm's AVX-512 dropout, at equal work: float32, into an array that is there, same threads.

    python benchmarks/libxsmm_dropout.py [--library FILE] [--threads 1 2] [--rounds 9] [--sizes 16 20 24]

libxsmm 1.17, the release that Debian packages (``libxsmm-dev``), has no dropout but has what it is made of:
``generator`` is dropout put together from the vector generator of its headers, compiled here by ``cc``. The primitive
that libxsmm compiles at run time, LIBXSMM_MELTW_TYPE_UNARY_DROPOUT, came after 1.17: ``primitive`` is that of the
shared library that ``--library`` or LIBXSMM_LIBRARY names, and is left out without one; docs/benchmarks.md says where
one is to be had.

Both draw 32 bits an element from xoshiro128+, sixteen of them abreast; ours draws 16 bits of AES. Their states go on
from call to call, one for each thread: a mask follows from no seed and offset, and cannot be drawn again for the
backward pass. ``_mask`` is with the mask that they store for it, a bit an element.

What drops too much or too little, or scales wrongly, ends the program before it is timed. One line a figure: ``name
value unit``; what is missing is said to be absent.
"""

# ruff: noqa: E402 - the environment is set before NumPy is loaded

from __future__ import annotations

import argparse
import ctypes
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

for variable in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(variable, None)

import numpy as np

import machine
from dropout_service.kernels.dropout import standard
from timing import in_turns

if TYPE_CHECKING:
    from collections.abc import Callable

SOURCE = Path(__file__).with_suffix(".c")
DROPOUT, FLOAT32 = 25, 1  # LIBXSMM_MELTW_TYPE_UNARY_DROPOUT, LIBXSMM_DATATYPE_F32
NO_MASK, BIT_MASK = 0, 1  # LIBXSMM_MELTW_FLAG_UNARY_NONE, LIBXSMM_MELTW_FLAG_UNARY_BITMASK_2BYTEMULT
ROW = 1024  # elements that the primitive unrolls; 64 to 4,096 take the same time
DEVIATIONS = 5


class Shape(ctypes.Structure):
    """Of ``libxsmm_meltw_unary_shape``."""

    _fields_ = tuple((name, ctypes.c_int) for name in ("m", "n", "ldi", "ldo", "in0_type", "out_type", "comp_type"))


class Arguments(ctypes.Structure):
    """Of ``libxsmm_meltw_unary_param``: four addresses each of the operation, the input and the output."""

    _fields_ = tuple(
        (f"{what}_{which}", ctypes.c_void_p)
        for what in ("op", "in", "out")
        for which in ("primary", "secondary", "tertiary", "quaternary")
    )


class Peer:
    """Both forms of libxsmm's dropout, from one array into another; each call of a method gives a call to be timed."""

    def __init__(self, ours: ctypes.CDLL, library: ctypes.CDLL | None, x: Any, y: Any, threads: int) -> None:
        self.ours, self.library, self.x, self.y, self.threads = ours, library, x, y, threads
        self.bits = np.zeros(x.size // 8, np.uint8)

    def generator(self, rate: float, *, mask: bool) -> Callable[[], object]:
        states = (ctypes.c_void_p * self.threads)(*(self.ours.create_state(seed) for seed in range(self.threads)))
        return partial(
            self.ours.run_generator,
            *(ctypes.c_void_p(array.ctypes.data) for array in (self.x, self.y)),
            ctypes.c_void_p(self.bits.ctypes.data if mask else None),
            ctypes.c_size_t(self.x.size),
            ctypes.c_float(rate),
            states,
            self.threads,
        )

    def primitive(self, rate: float, *, mask: bool) -> Callable[[], object]:
        assert self.library is not None
        share = self.x.size // self.threads
        shape = Shape(ROW, share // ROW, ROW, ROW, FLOAT32, FLOAT32, FLOAT32)
        compiled = self.library.libxsmm_dispatch_meltw_unary_v2(DROPOUT, shape, BIT_MASK if mask else NO_MASK)
        if not compiled:
            sys.exit("libxsmm compiles no dropout for this CPU")
        kept = ctypes.c_float(rate)
        arguments = [
            Arguments(
                op_primary=ctypes.addressof(kept),
                op_secondary=self.library.libxsmm_rng_create_extstate(thread),
                in_primary=self.x[thread * share :].ctypes.data,
                out_primary=self.y[thread * share :].ctypes.data,
                out_secondary=self.bits[thread * share // 8 :].ctypes.data if mask else None,
            )
            for thread in range(self.threads)
        ]
        addresses = (ctypes.c_void_p * self.threads)(*map(ctypes.addressof, arguments))

        def call(_alive: object = (kept, arguments)) -> None:
            self.ours.run_primitive(ctypes.c_void_p(compiled), addresses, self.threads)

        return call


def compiled_source(folder: str) -> ctypes.CDLL:
    """Compile what is beside this file.

    Raises
    ------
    OSError
        With what is missing.
    """
    if "avx512f" not in Path("/proc/cpuinfo").read_text(encoding="utf-8"):
        raise OSError("a CPU with AVX-512 is needed")
    compiler = shutil.which("cc")
    if compiler is None:
        raise OSError("a C compiler, cc, is needed")
    target = Path(folder) / "libxsmm_dropout.so"
    # Else gcc draws all the masks in one loop and multiplies in another.
    options = ["-O3", "-fno-tree-loop-distribution", "-march=native", "-fopenmp", "-shared", "-fPIC"]
    libraries = ["-lxsmm", "-lxsmmnoblas", "-lm", "-ldl", "-lpthread"]
    command = [compiler, *options, "-o", target, SOURCE, *libraries]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        reason = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr)
        raise OSError(f"the package libxsmm-dev is needed: {reason}")
    ours = ctypes.CDLL(str(target))
    ours.create_state.restype = ctypes.c_void_p
    return ours


def loaded(path: str) -> ctypes.CDLL:
    library = ctypes.CDLL(path, mode=os.RTLD_LAZY)
    library.libxsmm_dispatch_meltw_unary_v2.argtypes = (ctypes.c_int, Shape, ctypes.c_uint)
    library.libxsmm_dispatch_meltw_unary_v2.restype = ctypes.c_void_p
    library.libxsmm_rng_create_extstate.restype = ctypes.c_void_p
    library.libxsmm_get_target_arch.restype = ctypes.c_char_p
    library.libxsmm_init()
    return library


def check(name: str, call: Callable[[], object], peer: Peer, rate: float, *, mask: bool) -> None:
    """End the program unless one call drops about the rate, scales the others, and tells both apart in its mask."""
    peer.y[:] = np.nan
    peer.bits[:] = 0
    call()
    kept = peer.y != 0
    off = abs(kept.mean() - (1 - rate)) / math.sqrt(rate * (1 - rate) / kept.size)
    expected = np.where(kept, peer.x * np.float32(1 / (1 - rate)), np.float32(0))
    if off > DEVIATIONS or not np.allclose(peer.y, expected, rtol=1e-6):
        sys.exit(f"{name}: kept {kept.mean():.5f} at a rate of {rate}, or scaled wrongly")
    if mask and not np.array_equal(np.unpackbits(peer.bits, bitorder="little").view(bool), kept):
        sys.exit(f"{name}: the mask does not say what was kept")


def measure(peer: Peer, rate: float, prefix: str, rounds: int) -> None:
    ours: Callable[[], object] = partial(standard.forward, peer.x, rate, seed=1, out=peer.y, threads=peer.threads)
    ours()  # compiled, or fetched from the cache
    calls = {"ours": ours}
    forms = [peer.generator, *([peer.primitive] if peer.library else [])]
    for form in forms:
        for suffix, mask in (("", False), ("_mask", True)):
            name = form.__name__ + suffix
            calls[name] = form(rate, mask=mask)
            check(name, calls[name], peer, rate, mask=mask)
    taken = in_turns(calls, rounds)
    for name in calls:
        speed = peer.x.size / statistics.median(one[name] for one in taken) / 1e6
        print(f"{prefix}_{name} {speed:.0f} million_elements/s")
    for name in list(calls)[1:]:
        ratio = statistics.median(one[name] / one["ours"] for one in taken)
        print(f"{prefix}_ours_over_{name} {ratio:.2f} ratio")


def main() -> None:
    parser = argparse.ArgumentParser(description="dropout against libxsmm's")
    parser.add_argument("--library", default=os.environ.get("LIBXSMM_LIBRARY"), help="libxsmm after 1.17")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--sizes", type=int, nargs="+", default=[16, 20, 24], help="exponents of two")
    parser.add_argument("--rates", type=float, nargs="+", default=[0.3, 0.5])
    options = parser.parse_args()
    machine.describe(cores=max(options.threads))
    with tempfile.TemporaryDirectory() as folder:
        try:
            ours = compiled_source(folder)
        except OSError as fault:
            print(f"libxsmm absent {fault}")
            return
        library = loaded(options.library) if options.library else None
        if library is None:
            print("libxsmm_primitive absent no library is named")
        else:
            print(f"libxsmm_primitive {library.libxsmm_get_target_arch().decode()} target")
        for exponent in options.sizes:
            x = np.random.default_rng(0).random(1 << exponent, np.float32) + np.float32(
                0.5
            )  # only what is dropped is 0
            y = np.zeros_like(x)
            for threads in options.threads:
                peer = Peer(ours, library, x, y, threads)
                for rate in options.rates:
                    measure(peer, rate, f"2^{exponent}_threads{threads}_rate{rate}", options.rounds)


if __name__ == "__main__":
    main()
