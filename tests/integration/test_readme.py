"""The README's commands and programs, executed against a real server."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from live_server import LiveServer

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = [(language, text) for language, text in FENCE.findall((ROOT / "README.md").read_text(encoding="utf-8"))]
URL = "http://127.0.0.1:8000"


def commands() -> list[str]:
    shell = "".join(text for language, text in BLOCKS if language == "bash").replace("\\\n", " ")
    return [line.partition("  #")[0].strip() for line in shell.splitlines() if line.strip()]


def starting_with(prefix: str) -> list[str]:
    found = [command for command in commands() if command.startswith(prefix)]
    assert found, f"the README has no command that starts with {prefix!r}"
    return found


def test_every_command_is_covered_below():
    known = ("make ", "curl ", ".venv/bin/dropout-service serve ", ".venv/bin/dropout ", "docker ")
    assert [command for command in commands() if not command.startswith(known)] == []


def test_readme_leads_with_two_commands():
    assert [command.split()[1] for command in starting_with("make ")][:2] == ["demo", "test"]


@pytest.mark.parametrize("command", starting_with("make "))
def test_make_targets_exist(command: str):
    done = subprocess.run([*shlex.split(command), "--dry-run"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_demo_shows_what_dropout_gains():
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "demo.py"],
        env={**os.environ, "COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = [re.split(r"\s*│\s*", line.strip("│ \n")) for line in done.stdout.splitlines() if "dropout" in line]
    table = {name: [tuple(map(float, cell.split(" ± "))) for cell in cells] for name, *cells in rows if len(cells) == 3}
    assert len(table) == 5
    for mean, standard_error in [*table["gain with dropout"], table["gain with dropout, 100 passes"][1]]:
        assert mean > 2 * standard_error


def test_docker_commands_match_the_image():
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    run = next(command for command in starting_with("docker ") if command.startswith("docker run"))
    assert ":/data" in run
    assert 'VOLUME ["/data"]' in dockerfile
    assert "EXPOSE 8000" in dockerfile
    assert ":8000 " in run


def test_serve_takes_the_arguments_shown():
    (command,) = starting_with(".venv/bin/dropout-service serve")
    arguments = shlex.split(command)[1:]
    done = subprocess.run(
        [sys.executable, "-m", "dropout_service", *arguments, "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_curl_commands(live_server: LiveServer):
    for command in starting_with("curl "):
        arguments = shlex.split(command.replace(URL, live_server.url))
        done = subprocess.run([*arguments, "--fail"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert '"y"' in done.stdout


@pytest.mark.slow
def test_python_and_client_commands(live_server: LiveServer, tmp_path: Path):
    environment = {**os.environ, "DROPOUT_URL": live_server.url}
    program = tmp_path / "readme.py"
    program.write_text("\n".join(text for language, text in BLOCKS if language == "python"), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "[0 0 0]" in done.stdout
    assert "city category: 3 distinct texts" in done.stdout

    for command in starting_with(".venv/bin/dropout "):
        arguments = shlex.split(command)[1:]
        done = subprocess.run(
            [sys.executable, "-m", "dropout_client", *arguments],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "succeeded" in done.stdout
