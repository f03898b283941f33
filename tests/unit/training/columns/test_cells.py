from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dropout_service.training.columns.cells import as_flag, as_label, as_number, as_seconds

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("read", "value", "expected"),
    [
        (as_number, 3, 3.0),
        (as_number, -2.5, -2.5),
        (as_flag, True, 1.0),
        (as_flag, 0, 0.0),
        (as_label, " Ulm ", "Ulm"),
        (as_label, 3.0, "3"),
        (as_label, 3, "3"),
        (as_label, 0.1, "0.1"),
        (as_label, False, "false"),
        (as_seconds, "1970-01-02", 86_400.0),
        (as_seconds, "1970-01-01T01:00:00+01:00", 0.0),
        (as_seconds, " 1969-12-31T23:59:59Z ", -1.0),
    ],
)
def test_a_value_is_read(read: Callable[[Any], Any], value: Any, expected: Any):
    assert read(value) == expected


@pytest.mark.parametrize(
    ("read", "value", "says"),
    [
        (as_number, "3", "not a number"),
        (as_number, True, "not a number"),
        (as_number, [3], "not a number"),
        (as_number, 10**400, "not finite"),
        (as_number, float("inf"), "not finite"),
        (as_flag, 2, "neither true nor false"),
        (as_flag, "true", "neither true nor false"),
        (as_label, ["a"], "neither text"),
        (as_label, {}, "neither text"),
        (as_seconds, "03.04.2025", "not a date or time of ISO 8601"),
        (as_seconds, 5, "not a date or time"),
    ],
)
def test_what_it_cannot_be_is_told(read: Callable[[Any], Any], value: Any, says: str):
    with pytest.raises(ValueError, match=says):
        read(value)
