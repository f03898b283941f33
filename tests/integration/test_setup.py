"""The set-up installs what the lock says, whatever has been released since; and does nothing when nothing changed."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest
from locks import ROOT, pins, requirements

if TYPE_CHECKING:
    from pathlib import Path

NEWER = "9999.0"


def make_wheel(folder: Path, name: str, version: str, asks_for: list[str]) -> str:
    """Write a wheel that has nothing but metadata; return its hash."""
    known_as = name.replace("-", "_")
    info = f"{known_as}-{version}.dist-info"
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Dist: {one}" for one in asks_for]
    extras = {extra for one in asks_for for extra in one.split("extra ==")[1:]}
    lines += [f"Provides-Extra: {extra.strip(' )')[1:-1]}" for extra in sorted(extras)]
    files = {
        f"{info}/METADATA": "\n".join(lines) + "\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = [f"{path},sha256={digest_of(content)},{len(content)}" for path, content in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,"]) + "\n"
    wheel = folder / f"{known_as}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return hashlib.sha256(wheel.read_bytes()).hexdigest()


def digest_of(content: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content.encode()).digest()).rstrip(b"=").decode()


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """A folder with each locked package, and a newer release of all that another one asks for."""
    folder = tmp_path / "index"
    folder.mkdir()
    lock: list[str] = []
    for pin in pins("dev.txt"):
        digest = make_wheel(folder, pin.name, pin.version, [str(one) for one in requirements(pin)])
        marker = f" ; {pin.marker}" if pin.marker is not None else ""
        lock.append(f"{pin.name}=={pin.version}{marker} --hash=sha256:{digest}")
        make_wheel(folder, pin.name, NEWER, [])
    (tmp_path / "lock.txt").write_text("\n".join(lock), encoding="utf-8")
    return folder


def commands_of(target: str, *variables: str) -> list[str]:
    shown = subprocess.run(
        ["make", "--dry-run", "--always-make", target, *variables], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return shown.stdout.splitlines()


def installed(python: Path, environment: dict[str, str]) -> dict[str, str]:
    command = [python, "-m", "pip", "list", "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return {one["name"].lower().replace("_", "-").replace(".", "-"): one["version"] for one in json.loads(done.stdout)}


def offline(index: Path) -> dict[str, str]:
    """Let pip know of the test's own folder alone, whatever this machine is set to."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    return {
        **kept,
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(index),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_set_up_installs_what_the_lock_says_though_everything_has_a_newer_release(index: Path, tmp_path: Path):
    environment = offline(index)
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True, env=environment)
    (command,) = [one for one in commands_of("venv", f"VENV={tmp_path}/venv") if " locks/dev.txt" in one]
    ours = command.replace("locks/dev.txt", str(tmp_path / "lock.txt"))
    done = subprocess.run(["sh", "-c", ours], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    found = installed(tmp_path / "venv" / "bin" / "python", environment)
    expected = {pin.name: pin.version for pin in pins("dev.txt") if pin.applies({})}
    assert {name: version for name, version in found.items() if name in expected} == expected


def test_every_install_from_a_lock_resolves_nothing_and_is_checked():
    image = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    commands = [*commands_of("venv"), *image.replace("\\\n", "").replace(" && ", "\n").splitlines()]
    from_locks = [one for one in commands if " install " in one and "-r locks/" in one]
    assert len(from_locks) == 3
    for command in from_locks:
        assert "--no-deps" in command
        assert "--require-hashes" in command
    assert sum("pip check" in one for one in commands) == 2


def test_an_environment_is_made_anew_for_another_interpreter_only(tmp_path: Path):
    environment = tmp_path / "venv"
    environment.mkdir()
    stamp = environment / ".ready"
    program = "import sys; print(sys.version, sys.base_prefix)"
    stamp.write_text(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout)

    def would_do(*variables: str) -> str:
        command = ["make", "--dry-run", "venv", f"VENV={environment}", *variables]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert "-m venv" not in would_do()
    assert "-m venv" not in would_do(f"PYTHON={sys.executable}")
    stamp.write_text("3.10.1 (another one) /opt/python")
    assert "-m venv" not in would_do(), "whatever made it, nobody asked for another"
    assert f"{sys.executable} -m venv --clear" in would_do(f"PYTHON={sys.executable}")
