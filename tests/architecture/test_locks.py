"""The locks are complete: whatever a locked package asks for is locked, on each Python and platform that we name."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution

import pytest
from locks import ROOT, asked_for, pins, requirements
from packaging.utils import canonicalize_name

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
PLATFORMS = {
    "linux-x86_64": {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64"},
    "linux-aarch64": {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "aarch64"},
    "macos-arm64": {"sys_platform": "darwin", "platform_system": "Darwin", "platform_machine": "arm64"},
}


def environment(python: str, platform: str) -> dict[str, str]:
    return {
        "python_version": python,
        "python_full_version": f"{python}.1",
        "implementation_name": "cpython",
        "implementation_version": f"{python}.1",
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_version": "",
        "os_name": "posix",
        **PLATFORMS[platform],
    }


@pytest.mark.parametrize("lock", ["dev.txt", "service.txt"])
@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("python", PYTHONS)
def test_every_requirement_of_a_locked_package_is_met_by_a_locked_one(lock: str, python: str, platform: str):
    here = environment(python, platform)
    locked = {pin.name: pin for pin in pins(lock) if pin.applies(here)}
    wanted = [("this project", requirement, {""}) for requirement in asked_for(lock)]
    seen: set[tuple[str, frozenset[str]]] = set()
    missing: list[str] = []
    while wanted:
        by, requirement, extras = wanted.pop()
        marker = requirement.marker
        if marker is not None and not any(marker.evaluate({**here, "extra": extra}) for extra in extras):
            continue
        name = canonicalize_name(requirement.name)
        pin = locked.get(name)
        if pin is None or not requirement.specifier.contains(pin.version, prereleases=True):
            missing.append(f"{by} asks for {requirement}, locked is {pin and pin.version}")
        elif (visit := (name, frozenset(requirement.extras))) not in seen:
            seen.add(visit)
            wanted += [(name, one, {"", *requirement.extras}) for one in requirements(pin)]
    assert missing == []
    assert len({name for name, _ in seen}) > 20, "the packages were followed"


def test_what_is_not_installed_here_is_for_another_platform():
    """Of these the metadata is not at hand; so the test above says nothing of what they ask for."""
    here = {pin.name for pin in pins("dev.txt") if pin.applies({})}
    for name in here:
        try:
            distribution(name)
        except PackageNotFoundError:
            pytest.fail(f"{name} is locked, and applies here, but is not installed")
    elsewhere = {pin.name for pin in pins("dev.txt")} - here
    assert elsewhere == {"colorama"}, "for Windows"


def test_the_locks_agree():
    developed_with = {(pin.name, pin.version) for pin in pins("dev.txt")}
    assert {(pin.name, pin.version) for pin in pins("service.txt")} <= developed_with


@pytest.mark.parametrize("lock", ["dev.txt", "service.txt", "build.txt"])
def test_a_lock_has_hashes_and_names_no_index(lock: str):
    text = (ROOT / "locks" / lock).read_text(encoding="utf-8")
    assert text.count("==") - text.count("===") >= len(pins(lock)) > 3
    assert "--hash=sha256:" in text
    assert "://" not in text
