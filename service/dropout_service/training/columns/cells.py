"""What a single value of a program, such as one of JSON, is in a column."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any, Final

__all__ = ["as_flag", "as_label", "as_number", "as_seconds"]

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - what has no zone is in UTC


def as_number(value: Any) -> float:
    """Return a finite number.

    Raises
    ------
    ValueError
        It is none; the message says what it is instead.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("is not a number")  # noqa: TRY004 - a fault of data
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError("is not finite")
    return number


def as_flag(value: Any) -> float:
    """Return 1 for true and 0 for false; 1 and 0 stand for them too.

    Raises
    ------
    ValueError
        It is none of these.
    """
    if isinstance(value, bool | int | float) and value in (0, 1):
        return float(value)
    raise ValueError("is neither true nor false")


def as_label(value: Any) -> str:
    """Return the text of a category: that of a number as short as possible, without the point of a whole one.

    Raises
    ------
    ValueError
        It is a list or an object.
    """
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    raise ValueError("is neither text, number nor truth value")


def as_seconds(value: Any) -> float:
    """Return the seconds since 1970 of a date or time of ISO 8601; without a zone it is in UTC.

    Raises
    ------
    ValueError
        It is none.
    """
    try:
        moment = datetime.fromisoformat(value.strip())
    except (AttributeError, TypeError, ValueError):
        raise ValueError("is not a date or time of ISO 8601, such as 2026-11-27 or 2026-11-27T09:30:00Z") from None
    try:
        return moment.timestamp() if moment.tzinfo else (moment - _EPOCH).total_seconds()
    except OverflowError:
        raise ValueError("is a date beyond what can be counted") from None
