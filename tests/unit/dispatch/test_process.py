from __future__ import annotations

import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks the Linux kernel")

PARENT = """
import os, signal, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", '''
import os, signal, sys, time
from dropout_service.dispatch.process import die_with_parent
die_with_parent(signal.SIGKILL, int(sys.argv[1]))
print("bound", flush=True)
time.sleep(60)
''', str(os.getpid())], stdout=sys.stdout)
child.wait()
"""


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_a_child_dies_with_its_parent_even_by_kill_9():
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "bound\n"
        parent.kill()
        # The pipe ends when the grandchild, too, is gone.
        assert parent.stdout.read() == ""


def test_a_child_whose_parent_is_gone_already_dies_at_once():
    program = (
        "import signal; from dropout_service.dispatch.process import die_with_parent; "
        "die_with_parent(signal.SIGTERM, 1); print('alive')"
    )
    done = run(program)
    assert (done.returncode, done.stdout) == (-signal.SIGTERM, "")


INTERRUPTED_AT_EACH_LINE = """
import signal, sys
from dropout_service.dispatch.process import StopRequest

def ask_again(frame, event, argument):
    signal.raise_signal(signal.SIGTERM)
    return ask_again

stop = StopRequest(signal.SIGTERM)
sys.settrace(ask_again)
signal.raise_signal(signal.SIGTERM)
sys.settrace(None)
print(stop.is_made())
"""


def test_a_request_to_stop_may_interrupt_another():
    assert run(INTERRUPTED_AT_EACH_LINE).stdout == "True\n"


@pytest.mark.parametrize(
    ("counted", "signals", "told"),
    [
        ("", "TERM TERM", "made"),
        ("", "TERM INT", "made"),
        ("", "INT INT", "urgent"),
        ("", "QUIT", "urgent"),
        ("counted={signal.SIGTERM, signal.SIGINT}", "TERM", "made"),
        ("counted={signal.SIGTERM, signal.SIGINT}", "TERM TERM", "urgent"),
        ("counted={signal.SIGTERM, signal.SIGINT}", "TERM INT", "urgent"),
    ],
)
def test_a_second_signal_that_counts_means_at_once(counted: str, signals: str, told: str):
    program = (
        "import signal; from dropout_service.dispatch.process import StopRequest; "
        f"stop = StopRequest(signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, {counted}); "
        f"[signal.raise_signal(getattr(signal, 'SIG' + name)) for name in '{signals}'.split()]; "
        "print('urgent' if stop.is_urgent() else 'made' if stop.is_made() else 'none')"
    )
    assert run(program).stdout == f"{told}\n"


def test_memory_is_bounded():
    program = (
        "from dropout_service.dispatch.process import limit_memory; limit_memory(1 << 30); "
        "\ntry: bytearray(1 << 31)\nexcept MemoryError: print('refused')"
    )
    assert run(program).stdout == "refused\n"


def test_the_dispatcher_does_without_numpy():
    program = "import sys, dropout_service.dispatch.dispatcher; print({'numpy', 'numba'} & set(sys.modules))"
    assert run(program).stdout == "set()\n"
