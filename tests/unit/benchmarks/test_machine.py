"""Every benchmark says first on which CPU, with how many cores and of which versions its figures are."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
MACHINE = runpy.run_path(str(BENCHMARKS / "machine.py"))

# `stream_bytes.py` writes bytes for other programs to read, and no figures.
PROGRAMS = sorted(
    set(BENCHMARKS.glob("*.py")) - {BENCHMARKS / f"{name}.py" for name in ("machine", "timing", "stream_bytes")}
)

AMD = """\
processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: 26
model\t\t: 2
model name\t: AMD EPYC
stepping\t: 1
flags\t\t: fpu sse2 aes avx2 avx512f vaes

processor\t: 1
vendor_id\t: AuthenticAMD
flags\t\t: fpu
"""
INTEL = (
    AMD.replace("AuthenticAMD", "GenuineIntel").replace("AMD EPYC", "Intel(R) Xeon(R) CPU @ 2.00GHz").replace("26", "6")
)
ARM = """\
processor\t: 0
Features\t: fp asimd aes sve
CPU implementer\t: 0x41
CPU architecture: 8
CPU part\t: 0xd40
CPU revision\t: 1
"""


@pytest.mark.parametrize(
    ("cpuinfo", "values"),
    [
        (AMD, ["AuthenticAMD", "AMD_EPYC", "26", "2", "1", "avx2,avx512f,aes,vaes"]),
        (INTEL, ["GenuineIntel", "Intel(R)_Xeon(R)_CPU_@_2.00GHz", "6", "2", "1", "avx2,avx512f,aes,vaes"]),
        (ARM, ["0x41", "unknown", "8", "0xd40", "1", "aes,asimd,sve"]),
        ("", ["unknown"] * 5 + ["none"]),
    ],
    ids=["amd", "intel", "arm", "empty"],
)
def test_the_facts_of_the_first_cpu_are_told_without_spaces(cpuinfo: str, values: list[str]):
    facts = list(MACHINE["cpu"](cpuinfo))
    assert [value for _, value, _ in facts] == values
    assert not any(" " in part for fact in facts for part in fact)


def test_what_is_described_is_this_machine_and_this_environment(capsys: pytest.CaptureFixture[str]):
    MACHINE["describe"](cores=1, packages=("no-such-package",))
    facts = {name: value for name, value, _ in (line.split(" ") for line in capsys.readouterr().out.splitlines())}
    assert next(iter(facts)) == "cpu_vendor"
    assert facts["cores_available"] == str(len(os.sched_getaffinity(0)))
    assert facts["cores_used"] == "1"
    assert facts["python"] == ".".join(map(str, sys.version_info[:3]))
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", facts["dropout-service"])
    assert facts["no-such-package"] == "absent"


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.stem)
def test_every_program_describes_the_machine_once(program: Path):
    assert program.read_text(encoding="utf-8").count("machine.describe(") == 1


def test_without_a_compiler_the_comparison_with_libxsmm_says_so_and_goes_on(tmp_path: Path):
    program = [sys.executable, BENCHMARKS / "libxsmm_dropout.py"]
    done = subprocess.run(
        program, env={**os.environ, "PATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    first, *_, last = done.stdout.splitlines()
    assert first.startswith("cpu_vendor ")
    assert re.fullmatch(r"libxsmm absent a (C compiler, cc,|CPU with AVX-512) is needed", last)
