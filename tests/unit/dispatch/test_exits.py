from __future__ import annotations

import signal

import pytest

from dropout_service.dispatch.exits import explain, explain_refusal


@pytest.mark.parametrize(
    ("code", "out_of_memory", "reason", "failure_code", "told"),
    [
        (-signal.SIGKILL, True, "out_of_memory", "out-of-memory", "memory"),
        (-signal.SIGKILL, False, "lost", "lost", "killed"),
        (None, True, "lost", "lost", "killed"),
        (-signal.SIGSEGV, False, "error", "crashed", "SIGSEGV"),
        (-signal.SIGSEGV, True, "error", "crashed", "SIGSEGV"),
        (-99, False, "error", "crashed", "signal 99"),
        (0, False, "lost", "lost", "without a result"),
        (3, False, "error", "crashed", "exit code 3"),
    ],
)
def test_the_end_of_a_process_is_explained(
    code: int | None, *, out_of_memory: bool, reason: str, failure_code: str, told: str
):
    stop_reason, failure = explain(code, out_of_memory=out_of_memory)
    assert stop_reason == reason
    assert failure.code == failure_code
    assert told in failure.message
    assert failure.hint


def test_a_process_that_could_not_be_started_says_why_and_what_to_do():
    _, failure = explain_refusal("Resource temporarily unavailable")
    assert failure.message == "no process could be started for the training: Resource temporarily unavailable"
    assert "workers" in failure.hint
