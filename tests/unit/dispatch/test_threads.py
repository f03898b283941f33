from __future__ import annotations

import os
import subprocess
import sys


def test_blas_threads_are_the_jobs_own_whatever_the_environment():
    program = """
import numpy, threadpoolctl
from dropout_service.dispatch.threads import set_threads
from dropout_service.kernels.runtime import parallel
def blas():
    return [one["num_threads"] for one in threadpoolctl.threadpool_info() if one["user_api"] == "blas"]
before = blas()
set_threads(3)
print(before, blas(), parallel.threads_in_use())
"""
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True, env=env
    )
    assert done.stdout == "[1] [3] 3\n"
