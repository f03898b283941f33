"""docs/textbook-backward.md shows what its program prints, and what it says about it is so."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[3]
PROGRAM = ROOT / "examples" / "textbook_backward.py"
PAGE = (ROOT / "docs" / "textbook-backward.md").read_text(encoding="utf-8")
EXAMPLE = runpy.run_path(str(PROGRAM))


def figures(text: str) -> list[list[float]]:
    """Return the table rows, rounding errors as 0: those differ from one processor to the next."""
    rows = re.findall(r"^ *\d[\d.e+\- ]+$", text, re.MULTILINE)
    return [[float(cell) if abs(float(cell)) > 1e-9 else 0.0 for cell in row.split()] for row in rows]


def test_the_page_shows_what_the_program_prints():
    answer = subprocess.run([sys.executable, PROGRAM], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    (shown,) = re.findall(r"```console\n\$ python examples/textbook_backward.py\n(.*?)```", PAGE, re.DOTALL)
    printed = figures(answer.stdout)
    assert [len(row) for row in printed] == [5] * 5 + [5] * 4
    for row, shown_row in zip(printed, figures(shown), strict=True):
        assert row == pytest.approx(shown_row, rel=1e-3, abs=2e-4)


@pytest.mark.parametrize("rate", EXAMPLE["RATES"])
def test_the_textbook_is_off_by_the_inverse_of_keep_prob_and_ours_by_rounding(rate: float):
    found = EXAMPLE["check"](rate)
    assert found.factor == pytest.approx(1 / (1 - rate), rel=1e-10)
    assert found.spread < 1e-7 * found.factor
    assert found.textbook > 0.1
    assert found.ours < 1e-10


def test_the_missing_factor_compounds_over_layers():
    lengths = [layer.length for layer in EXAMPLE["network_check"](rate=0.5, layers=4)]
    assert lengths == [1 / 16, 1 / 8, 1 / 4, 1 / 2]  # powers of two: exact


def test_only_residual_connections_turn_the_gradient():
    assert all(layer.cosine == pytest.approx(1, abs=1e-12) for layer in EXAMPLE["network_check"]())
    assert EXAMPLE["network_check"](residual=True)[0].cosine < 0.95


@pytest.mark.parametrize("residual", [False, True])
def test_the_gradients_called_true_are_those_of_the_network(*, residual: bool):
    rng = np.random.default_rng(3)
    weights = [rng.normal(size=(4, 4)) for _ in range(3)]
    x, step = rng.normal(size=(5, 4)), 1e-6

    def loss_and_gradients() -> tuple[float, list[np.ndarray]]:
        return EXAMPLE["network_gradients"](weights, x, rate=0.5, residual=residual, backward_scale=2)

    _, gradients = loss_and_gradients()
    for weight, gradient in zip(weights, gradients, strict=True):
        weight[1, 2] += step
        above, _ = loss_and_gradients()
        weight[1, 2] -= 2 * step
        below, _ = loss_and_gradients()
        weight[1, 2] += step
        assert gradient[1, 2] == pytest.approx((above - below) / (2 * step), rel=1e-6)
