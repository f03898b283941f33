"""The Python blocks of the client's documents run, in order, against a real server."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dropout_client import Client
from dropout_client.cli.app import _EXIT_CODES, app

if TYPE_CHECKING:
    from live_server import LiveServer

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("document", ["docs/client.md", "clients/python/README.md"])
def test_every_block_runs(live_server: LiveServer, monkeypatch: pytest.MonkeyPatch, document: str):
    monkeypatch.setenv("DROPOUT_URL", live_server.url)
    blocks = BLOCK.findall((ROOT / document).read_text())
    assert blocks
    names: dict[str, object] = {}
    try:
        for number, block in enumerate(blocks, start=1):
            exec(compile(block, f"{document}, block {number}", "exec"), names)  # noqa: S102  # our own text
    finally:
        client = names["client"]
        assert isinstance(client, Client)
        client.close()


def test_every_command_and_exit_code_is_documented():
    text = (ROOT / "docs/client.md").read_text()
    for command in app.registered_commands:
        assert f"dropout {command.callback.__name__}" in text
    for _, code in _EXIT_CODES:
        assert f"| {code} |" in text
