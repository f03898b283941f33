"""Compile every kernel into the cache: ``python -m dropout_service.kernels`` (the image does it at build time)."""

from __future__ import annotations

import sys
import time

from dropout_service.kernels.codegen import compile_cache

if __name__ == "__main__":
    begin_s = time.perf_counter()
    report = compile_cache.warm()
    sys.stdout.write(
        f"kernels: {report.compiled} compiled, {report.loaded} loaded in {time.perf_counter() - begin_s:.1f} s, "
        f"cache {report.folder or 'in memory only'}\n"
    )
