"""The threads that a job computes with, in the kernels and in BLAS."""

from __future__ import annotations

from threadpoolctl import ThreadpoolController

from dropout_service.kernels.runtime import parallel

__all__ = ["set_threads"]


def set_threads(threads: int) -> None:
    """Compute with this many threads from here on, in the kernels and in every BLAS that this process has loaded.

    The result of a matrix product depends on the number of BLAS threads: it must be the job's own, never what the
    environment or a neighbour happens to leave.
    """
    parallel.set_threads(threads)
    ThreadpoolController().limit(limits=threads, user_api="blas")
