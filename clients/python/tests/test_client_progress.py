from __future__ import annotations

import io
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from dropout_client import progress
from dropout_client.records import JobRecord

RUNNING = {
    "id": "job_1",
    "name": "iris",
    "status": "running",
    "created_at": "2026-11-22T09:00:00Z",
    "progress": 0.5,
    "epoch": 5,
    "epochs": 10,
    "metrics": {"epoch": 5, "epochs": 10, "train": {"loss": 0.51239}, "validation": {"accuracy": 0.9}},
}
DONE = {**RUNNING, "status": "succeeded", "stop_reason": "early_stopped", "progress": 1.0}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, *, asked: bool = True) -> str:
    monkeypatch.setattr(sys, "stderr", stream)
    with progress.display(progress=asked) as show:
        if show is not None:
            for state in (RUNNING, DONE):
                show(JobRecord.from_json(state))
    return stream.getvalue()


def test_a_pipe_gets_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    assert shown(monkeypatch, io.StringIO()) == ""
    assert capsys.readouterr() == ("", "")


def test_nobody_who_does_not_ask_gets_a_bar(monkeypatch: pytest.MonkeyPatch):
    assert shown(monkeypatch, Terminal(), asked=False) == ""


def test_a_terminal_gets_the_plain_bar_where_rich_is_not_installed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(progress, "find_spec", lambda _: None)
    assert shown(monkeypatch, Terminal()) == (
        "\r###############...............  50%  epoch 5/10  train loss 0.5124  validation accuracy 0.9"
        "\r############################## 100%  succeeded (early_stopped)  epoch 5/10"
        "  train loss 0.5124  validation accuracy 0.9\n"
    )


def test_a_terminal_gets_the_rich_bar(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    text = shown(monkeypatch, Terminal())
    assert "iris" in text
    assert "100%" in text
    assert "succeeded (early_stopped)" in text
    assert "validation accuracy 0.9" in text


def test_a_paused_job_is_shown_as_such():
    paused = JobRecord.from_json({**RUNNING, "status": "paused"})
    assert progress.describe(paused).startswith("paused  epoch 5/10  ")


@pytest.mark.parametrize(
    ("status", "reason", "text"),
    [("queued", None, "queued"), ("failed", "error", "failed (error)"), ("cancelled", None, "cancelled")],
)
def test_without_an_epoch_the_status_is_shown_once(status: str, reason: str | None, text: str):
    bare = {**RUNNING, "status": status, "stop_reason": reason, "epoch": None, "metrics": None}
    assert progress.describe(JobRecord.from_json(bare)) == text


@pytest.mark.parametrize(("shell", "live"), [("ZMQInteractiveShell", True), ("TerminalInteractiveShell", False)])
def test_a_notebook_gets_a_bar(monkeypatch: pytest.MonkeyPatch, shell: str, *, live: bool):
    instance: Any = type(shell, (), {})()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: instance))  # pyright: ignore[reportArgumentType] # stands in for the module
    monkeypatch.setattr(progress, "find_spec", lambda _: None)
    assert bool(shown(monkeypatch, io.StringIO())) is live
