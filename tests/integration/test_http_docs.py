"""The commands of docs/http.md work as they stand, and its answers are real ones."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

if TYPE_CHECKING:
    from live_server import LiveServer

TEXT = (Path(__file__).parents[2] / "docs" / "http.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL)
ANSWERS = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)]


@pytest.mark.skipif(shutil.which("curl") is None, reason="the commands use curl")
@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_works(command: str, live_server: LiveServer, tmp_path: Path):
    script = command.replace("http://127.0.0.1:8000", live_server.url).replace("curl -s", "curl -sS --fail-with-body")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euc", script], cwd=tmp_path, env={**os.environ, "PATH": path}, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout


def test_the_answers_are_real(live_server: LiveServer):
    forward, problem, beyond = ANSWERS
    answer = httpx.post(f"{live_server.url}/dropout/forward", json={"x": [[1, 2], [3, 4]], "rate": 0.5, "seed": 42})
    assert answer.json() == forward
    wrong = httpx.post(
        f"{live_server.url}/dropout/forward",
        json={"x": [1], "rate": 1.5},
        headers={"X-Request-ID": problem["request_id"]},
    )
    assert wrong.json() == problem
    data = {"x": [[0, 1], [1, 0]], "y": [0, 1]}
    large = httpx.post(
        f"{live_server.url}/jobs",
        json={"task": "regression", "data": data, "model": {"hidden": [65_536, 65_536], "dropout": 0}},
        headers={"X-Request-ID": beyond["request_id"]},
    )
    assert large.json() == beyond
