"""Tests that are run once more in a process whose kernels are compiled for a CPU with fewer instructions."""

from __future__ import annotations

import os
import subprocess
import sys

__all__ = ["run_tests"]


def run_tests(file: str, which: str, *, cpu: str, features: str) -> str:
    """Run the tests of a file whose names match pytest's ``-k which``; return what pytest says.

    Raises
    ------
    AssertionError
        One of them fails, with pytest's report.
    """
    answer = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", file, "-k", which],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": features},
    )
    assert answer.returncode == 0, answer.stdout
    return answer.stdout
