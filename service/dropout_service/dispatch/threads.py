"""The threads that a job computes with, in the kernels and in BLAS."""

from __future__ import annotations

import ctypes
from pathlib import Path

from dropout_service.kernels.runtime import parallel

__all__ = ["set_threads"]

_SET_THREADS = (
    "scipy_openblas_set_num_threads64_",
    "scipy_openblas_set_num_threads",
    "openblas_set_num_threads64_",
    "openblas_set_num_threads",
)


def set_threads(threads: int) -> None:
    """Compute with this many threads, in the kernels and in the BLAS that NumPy brings.

    The result of a matrix product depends on the number of BLAS threads: it must be the job's own, never what the
    environment or a neighbour happens to leave.
    """
    parallel.set_threads(threads)
    for library in _openblas_libraries():
        blas = ctypes.CDLL(library)
        found = next((name for name in _SET_THREADS if hasattr(blas, name)), None)
        if found is not None:
            getattr(blas, found)(ctypes.c_int(threads))


def _openblas_libraries() -> set[str]:
    try:
        maps = Path("/proc/self/maps").read_text()
    except OSError:
        return set()
    paths = {line.split(maxsplit=5)[-1] for line in maps.splitlines() if "/" in line}
    return {path for path in paths if "openblas" in Path(path).name}
