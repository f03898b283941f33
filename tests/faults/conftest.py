"""The suite of real faults: `make faults`. It takes minutes, and is not part of the test command.

A run draws its faults from a seed, which is printed; `--fault-seed` draws the same ones again. (When they hit is up
to the machine: a seed repeats the plan, not the microsecond.)
"""

from __future__ import annotations

import random
import secrets
import subprocess
import sys

import pytest
from fault_ledger import Ledger

_LEDGER = pytest.StashKey[Ledger]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fault-seed", type=int, default=None, help="Seed of the plan of faults. Default: drawn.")
    parser.addoption("--interruptions", type=int, default=100, help="Attempts to interrupt at random, at least.")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_LEDGER] = Ledger()
    if config.option.fault_seed is None:
        config.option.fault_seed = secrets.randbelow(1_000_000)


def pytest_report_header(config: pytest.Config) -> str:
    return f"faults: --fault-seed {config.option.fault_seed} --interruptions {config.option.interruptions}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if sys.platform != "linux":
        for item in items:
            item.add_marker(pytest.mark.skip(reason="the faults are made with what Linux has"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    lines = config.stash[_LEDGER].lines()
    if lines:
        terminalreporter.section(f"figures (seed {config.option.fault_seed})")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session", autouse=True)
def _compiled_kernels() -> None:
    """Compile what has not been compiled yet: that is the very first start, and not what is timed here."""
    subprocess.run([sys.executable, "-m", "dropout_service.kernels"], check=True)


@pytest.fixture(scope="session")
def ledger(pytestconfig: pytest.Config) -> Ledger:
    return pytestconfig.stash[_LEDGER]


@pytest.fixture
def rng(request: pytest.FixtureRequest, pytestconfig: pytest.Config) -> random.Random:
    """Random numbers of the test's own, from the seed of the run."""
    return random.Random(f"{pytestconfig.option.fault_seed}:{request.node.name}")  # noqa: S311 - a plan, no secret
