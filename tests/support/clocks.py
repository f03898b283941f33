"""Clocks that a test sets, for single processes: libfaketime, preloaded. The clock of the machine is never touched."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

__all__ = ["Clock"]


class Clock:
    """A clock that jumps for the processes that have its environment, and for their children.

    Only the time of day jumps, as when an operator or NTP sets it: what measures durations goes on evenly.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self.set(0)
        self.environment = {
            "LD_PRELOAD": str(_library()),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, offset_s: int) -> None:
        """Let the clock differ from the true time by this much from now on."""
        scratch = self._file.with_suffix(".new")
        scratch.write_text(f"{offset_s:+d}\n")
        scratch.replace(self._file)


def _library() -> Path:
    package = importlib.util.find_spec("libfaketime")
    places = [*Path("/usr/lib").glob("*/faketime/libfaketime.so.1")]
    if package is not None and package.submodule_search_locations:
        places += Path(package.submodule_search_locations[0]).rglob("libfaketime.so.1")
    if not places:
        pytest.skip("libfaketime is not installed; `make faults` installs it, so does `apt-get install libfaketime`")
    return places[0]
