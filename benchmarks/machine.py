"""Where figures come from: the CPU, its instruction sets, the cores used, and the versions of what was measured.

Every benchmark prints this first, a line a fact, as it prints its figures: ``name value unit``. A value has no spaces.
"""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from llvmlite.binding import get_host_cpu_name

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGES = ("dropout-service", "numpy", "numba", "torch")
INSTRUCTION_SETS = ("avx2", "fma", "avx512f", "avx512_bf16", "aes", "vaes", "asimd", "asimdhp", "sve")
"""As Linux names them: of vectors, and of the AES rounds that masks are made of; the last three are of ARM."""


def describe(*, cores: int | None = None, packages: tuple[str, ...] = ()) -> None:
    """Print the facts of this machine and of this environment.

    Parameters
    ----------
    cores
        Cores that the figures are measured on; None for all that this process may use.
    packages
        Distributions whose versions matter beside those of every benchmark.
    """
    available = len(os.sched_getaffinity(0))
    for name, value, unit in (
        *cpu(Path("/proc/cpuinfo").read_text(encoding="utf-8")),
        ("cpu_microarchitecture", get_host_cpu_name(), "llvm_name"),
        ("cores_available", available, "count"),
        ("cores_used", min(cores or available, available), "count"),
        ("python", platform.python_version(), "version"),
        *((package, _version(package), "version") for package in (*PACKAGES, *packages)),
    ):
        print(f"{name} {value} {unit}", flush=True)


def cpu(cpuinfo: str) -> Iterator[tuple[str, str, str]]:
    """Yield name, value and unit of each fact that the text of ``/proc/cpuinfo`` has about the first CPU.

    The model's name does not tell generations apart on a virtual machine ("AMD EPYC"); family and model numbers do.
    """
    first, _, _ = cpuinfo.strip().partition("\n\n")
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())}
    for name, keys, unit in (
        ("cpu_vendor", ("vendor_id", "CPU implementer"), "name"),
        ("cpu_model", ("model name",), "name"),
        ("cpu_family", ("cpu family", "CPU architecture"), "number"),
        ("cpu_model_number", ("model", "CPU part"), "number"),
        ("cpu_stepping", ("stepping", "CPU revision"), "number"),
    ):
        value = next((facts[key] for key in keys if facts.get(key)), "unknown")
        yield name, "_".join(value.split()), unit
    flags = facts.get("flags", facts.get("Features", "")).split()
    yield "cpu_instruction_sets", ",".join(one for one in INSTRUCTION_SETS if one in flags) or "none", "names"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"
