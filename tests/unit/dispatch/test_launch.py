from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from waiting import wait_for

from dropout_service.dispatch import launch
from dropout_service.dispatch.config import DispatchConfig
from dropout_service.dispatch.launch import DispatcherProcess

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_dispatcher_that_cannot_be_started_is_started_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    program, started = tmp_path / "dispatcher", tmp_path / "started"
    monkeypatch.setattr(launch, "_COMMAND", (str(program),))
    process = DispatcherProcess(DispatchConfig(database_url="", blob_url=""))
    process.start()
    try:
        wait_for(
            lambda: "the dispatcher does not start (No such file or directory)" in caplog.text,
            "the failure",
            patience_s=20,
        )
        draft = tmp_path / "draft"
        draft.write_text(
            f"#!{sys.executable}\nimport pathlib, time\npathlib.Path({str(started)!r}).touch()\ntime.sleep(600)\n"
        )
        draft.chmod(0o700)
        draft.rename(program)
        wait_for(started.exists, "the dispatcher", patience_s=20)
    finally:
        process.stop()
