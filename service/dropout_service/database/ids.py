"""Identifiers that sort by the time they were drawn.

The layout is ULID's: 48 bits of milliseconds and 80 random bits, in Crockford's base 32 (lower case here).
"""

from __future__ import annotations

import secrets
import threading
import time

__all__ = ["new_id"]

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_DIGITS = 26
_RANDOM_BITS = 80

_lock = threading.Lock()
_last = 0


def new_id(prefix: str) -> str:
    """Draw an identifier such as ``job_01jd4n6w1v8c0qk5h8z2p3e7rt``.

    Parameters
    ----------
    prefix
        What it identifies: ``job``, ``model``.

    Returns
    -------
    str
        Later ids sort after earlier ones: always within a process, to the millisecond between processes.
    """
    global _last  # noqa: PLW0603 - the order within a process is the point
    value = time.time_ns() // 1_000_000 << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)
    with _lock:
        if value >> _RANDOM_BITS <= _last >> _RANDOM_BITS:
            value = _last + 1
        _last = value
    digits = [_ALPHABET[value >> shift & 31] for shift in range(5 * (_DIGITS - 1), -1, -5)]
    return f"{prefix}_{''.join(digits)}"
