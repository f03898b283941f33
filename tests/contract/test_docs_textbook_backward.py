"""The check of docs/textbook-backward.md against a running service."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from live_server import LiveServer

EXAMPLE = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "textbook_backward.py"))


@pytest.mark.parametrize("rate", EXAMPLE["RATES"])
def test_the_service_answers_with_the_gradient(rate: float, live_server: LiveServer):
    assert EXAMPLE["service_error"](live_server.url, rate) < 1e-10
