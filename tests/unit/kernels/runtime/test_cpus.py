from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

import pytest

from dropout_service.kernels.runtime import cpus

if TYPE_CHECKING:
    from pathlib import Path


def write(root: Path, membership: str, files: dict[str, str]) -> tuple[Path, Path]:
    for name, text in files.items():
        place = root / "groups" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    (root / "membership").write_text(membership)
    return root / "groups", root / "membership"


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, math.inf),
        ("0::/a/b\n", {"a/cpu.max": "50000 100000\n", "a/b/cpu.max": "400000 100000\n"}, 0.5),
        ("0::/unit:a:b\n", {"unit:a:b/cpu.max": "50000 100000\n"}, 0.5),
        ("0::/of/the/host\n", {"cpu.max": "200000 100000\n"}, 2),
        (
            "4:memory:/x\n1:cpu,cpuacct:/job\n",
            {"cpu/job/cpu.cfs_quota_us": "100000\n", "cpu/job/cpu.cfs_period_us": "100000\n"},
            1,
        ),
        ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, math.inf),
        ("1:cpu:/\n0::/\n", {"cpu.max": "not a limit\n"}, math.inf),
        ("", {}, math.inf),
    ],
    ids=[
        "v2",
        "v2 unlimited",
        "v2 nested",
        "v2 with colons",
        "v2 host path",
        "v1",
        "v1 unlimited",
        "unreadable",
        "none",
    ],
)
def test_the_least_quota_counts(tmp_path: Path, membership: str, files: dict[str, str], expected: float):
    assert cpus.quota(*write(tmp_path, membership, files)) == expected


def test_without_control_groups_there_is_no_limit(tmp_path: Path):
    assert cpus.quota(tmp_path, tmp_path / "missing") == math.inf


def test_the_affinity_mask_counts():
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert cpus.available() == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(("told", "expected"), [(3, 3), (None, 1)])
def test_where_there_is_no_affinity_mask_the_system_tells(
    monkeypatch: pytest.MonkeyPatch, told: int | None, expected: int
):
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: told)
    monkeypatch.setattr(cpus, "quota", lambda: math.inf)
    assert cpus.available() == expected
