"""The examples run against a real server, and show what they say they show."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from live_server import LiveServer

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(live_server: LiveServer, *command: str) -> str:
    answer = subprocess.run(
        [sys.executable, *command],
        check=False,
        capture_output=True,
        text=True,
        cwd=EXAMPLES,
        env={**os.environ, "DROPOUT_URL": live_server.url},
        timeout=90,
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def test_noise_costs_accuracy_and_the_network_says_so(live_server: LiveServer):
    _, *lines = run(live_server, "mc_uncertainty.py").splitlines()
    rows = [[float(cell.rstrip("%")) for cell in line.split()] for line in lines]
    noise, accuracy, entropy, _ = zip(*rows, strict=True)
    assert noise == (0.0, 0.1, 0.2, 0.4, 0.8)
    assert accuracy[0] > 90
    assert list(accuracy) == sorted(accuracy, reverse=True)
    assert list(entropy) == sorted(entropy)


def test_a_csv_becomes_predictions(live_server: LiveServer):
    output = run(live_server, "train_from_csv.py")
    assert "148 rows, 14 columns" in output
    assert "grower: " in output
    assert int(output.split(" of 30 unseen")[0].split()[-1]) >= 27


def test_the_specification_in_yaml(live_server: LiveServer):
    output = run(live_server, "-m", "dropout_client", "submit", "iris.yaml", "--watch")
    assert "succeeded (" in output
