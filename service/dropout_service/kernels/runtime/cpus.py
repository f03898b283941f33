"""Number of CPUs that this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Final

__all__ = ["available", "quota"]

_GROUPS: Final = Path("/sys/fs/cgroup")
_MEMBERSHIP: Final = Path("/proc/self/cgroup")


def available() -> int:
    """Return the CPUs of the process's affinity mask, or fewer where a control group's quota is less.

    A container started with ``--cpus=1`` sees all CPUs of its host: only its quota tells. One with a quota of one and a
    half CPUs can make use of two threads, so a part of a CPU counts as one.
    """
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(cpus, quota())))


def quota(groups: Path = _GROUPS, membership: Path = _MEMBERSHIP) -> float:
    """Return the CPU time that the control groups of the process allow for each second; infinity without a limit.

    Parameters
    ----------
    groups
        Where the control groups are mounted. Version 2 has ``cpu.max`` in each group, version 1 has
        ``cpu.cfs_quota_us`` and ``cpu.cfs_period_us`` below ``cpu``; see the Linux kernel's admin-guide/cgroup-v2 and
        scheduler/sched-bwc.
    membership
        The groups of the process: lines of ``number:controllers:path``.
    """
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return math.inf
    limits: list[float] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mounted = groups / "cpu" if controllers else groups
        inner = mounted / path.lstrip("/")
        # The limit of a group holds for all below it. In a container the path may be the host's: its root is then here.
        for group in (inner, *inner.parents):
            if not group.is_relative_to(mounted):
                break
            limits.append(_limit(group))
    return min(limits, default=math.inf)


def _limit(group: Path) -> float:
    try:
        if (group / "cpu.max").exists():
            quota_us, period_us = (group / "cpu.max").read_text().split()
        else:
            quota_us, period_us = ((group / f"cpu.cfs_{what}_us").read_text() for what in ("quota", "period"))
        # "max" and -1 stand for no limit.
        return int(quota_us) / int(period_us) if quota_us != "max" and int(quota_us) > 0 else math.inf
    except (OSError, ValueError):
        return math.inf
