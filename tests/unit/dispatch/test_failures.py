from __future__ import annotations

from pathlib import Path

import pytest

from dropout_service.dispatch.config import DispatchConfig
from dropout_service.dispatch.failures import explain_error, safe_traceback
from dropout_service.errors import InvalidInputError, TrainingError


def raised(error: Exception) -> Exception:
    try:
        raise error
    except type(error) as caught:
        return caught


@pytest.mark.parametrize(
    ("error", "reason", "code"),
    [
        (TrainingError("diverged", reason="diverged", epoch=3, hint="lower it"), "diverged", "diverged"),
        (TrainingError("no such class", reason="empty_class"), "error", "empty-class"),
        (MemoryError("Unable to allocate 3 GiB"), "out_of_memory", "out-of-memory"),
        (InvalidInputError.at("/data", "gone"), "error", "invalid-input"),
        (ZeroDivisionError("division by zero"), "error", "internal-error"),
    ],
)
def test_an_exception_becomes_a_failure(error: Exception, reason: str, code: str):
    stop_reason, failure = explain_error(raised(error), phase="training", epoch=2)
    assert (stop_reason, failure.code, failure.phase) == (reason, code, "training")
    assert failure.epoch == (3 if getattr(error, "epoch", None) else 2)
    assert failure.message
    # Only a fault of the program shows where it was.
    assert (failure.traceback is not None) == (code in {"internal-error", "out-of-memory"})


def test_a_traceback_names_lines_but_no_folder_of_the_machine():
    def broken() -> None:
        Path("/nowhere/secret-folder/file.bin").read_bytes()

    try:
        broken()
    except FileNotFoundError as error:
        told = safe_traceback(error)
        _, failure = explain_error(error, phase="loading", epoch=None)
    assert "in broken" in told
    assert f"{Path(__file__).name}:" in told
    for text in (told, failure.message):
        assert "file.bin" in text
        assert "secret-folder" not in text
        assert str(Path(__file__).parent) not in text


def test_frames_of_the_package_are_named_by_module():
    with pytest.raises(ValueError, match="Expecting value") as caught:
        DispatchConfig.from_json("not JSON")
    assert "dropout_service/dispatch/config.py:" in safe_traceback(caught.value)
