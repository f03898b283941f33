"""A bounded wait for a condition, in place of a sleep."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["wait_for"]


def wait_for(condition: Callable[[], Any], what: str, *, patience_s: float) -> Any:
    """Return what the condition gives as soon as that is true; fail the test when it is not in time."""
    deadline = time.monotonic() + patience_s
    while not (found := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"waited in vain for {what}")
        time.sleep(0.01)
    return found
