"""The locks as data: what is pinned, where, and what it asks for."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parents[2]
_PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;]+)(?:\s*;\s*(?P<marker>[^\\\n]+))?", re.MULTILINE)


@dataclass(frozen=True)
class Pin:
    """A package of a lock: its version, and where it applies."""

    name: str
    version: str
    marker: Marker | None

    def applies(self, environment: Mapping[str, str]) -> bool:
        return self.marker is None or self.marker.evaluate(dict(environment))


def pins(lock: str) -> list[Pin]:
    """Read ``locks/dev.txt``, say."""
    text = (ROOT / "locks" / lock).read_text(encoding="utf-8")
    return [
        Pin(canonicalize_name(found["name"]), found["version"], Marker(found["marker"]) if found["marker"] else None)
        for found in _PIN.finditer(text)
    ]


def requirements(pin: Pin) -> list[Requirement]:
    """What a package asks for, by the metadata of the one that is installed here; none of it where none is."""
    try:
        found = distribution(pin.name)
    except PackageNotFoundError:
        return []
    return [Requirement(one) for one in found.requires or ()]


def asked_for(lock: str) -> Iterator[Requirement]:
    """What the lock was made from, by our own metadata."""
    service = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    yield from map(Requirement, service["project"]["dependencies"])
    if lock == "dev.txt":
        yield from map(Requirement, service["dependency-groups"]["dev"])
        client = tomllib.loads((ROOT / "clients/python/pyproject.toml").read_text(encoding="utf-8"))["project"]
        yield from map(Requirement, [*client["dependencies"], *client["optional-dependencies"]["cli"]])
