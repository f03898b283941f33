"""Names of columns: what is told of one that is missing."""

from __future__ import annotations

from difflib import get_close_matches
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["missing_column"]


def missing_column(name: str, names: Iterable[str]) -> str:
    """Say that a feature is missing, with the name that was given in its place if one is close."""
    close = get_close_matches(name, list(islice(names, 1000)), n=1)
    return f"column `{name}` is missing" + (f"; did you mean `{name}` by `{close[0]}`?" if close else "")
