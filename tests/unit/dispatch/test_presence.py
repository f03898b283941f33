from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from waiting import wait_for

from dropout_service.dispatch.presence import Presence

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="knows a boot by /proc")

_HOLDER = """
import os, sys, time
from pathlib import Path
from dropout_service.dispatch.presence import Presence
presence = Presence(Path(sys.argv[1]), "theirs:1/2")
child = os.fork()
if child == 0:
    time.sleep(600)
print(child, flush=True)
sys.stdin.read()
"""


def test_a_dispatcher_is_gone_when_the_last_of_its_processes_is(tmp_path: Path):
    command = [sys.executable, "-c", _HOLDER, str(tmp_path)]
    with (
        Presence(tmp_path, "ours") as presence,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder,
    ):
        assert holder.stdout is not None
        child = int(holder.stdout.readline())
        try:
            assert not presence.is_gone("theirs:1/2")
            holder.kill()
            holder.wait()
            assert not presence.is_gone("theirs:1/2"), "its child lives, and so does the lock it inherited"
        finally:
            os.kill(child, signal.SIGKILL)
        wait_for(lambda: presence.is_gone("theirs:1/2"), "the end of its child", patience_s=20)
        presence.sweep({"theirs:1/2"})
        assert len(list(tmp_path.iterdir())) == 2
        presence.sweep(set())
        assert [path.name for path in tmp_path.iterdir()] == ["ours"]
    assert list(tmp_path.iterdir()) == []


def test_it_says_nothing_of_itself_of_strangers_and_of_other_boots(tmp_path: Path):
    with Presence(tmp_path, "ours") as presence:
        (tmp_path / "before the reboot").write_text("another boot id")
        (tmp_path / "no room to write").touch()
        for name in ("ours", "of another machine", "before the reboot", "no room to write"):
            assert not presence.is_gone(name)
