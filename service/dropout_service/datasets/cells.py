"""What a cell of text means: a number, a truth value, no value, or text."""

from __future__ import annotations

import math
import re
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from dropout_service.datasets.dataset import CsvOptions

__all__ = ["MISSING", "PLAIN", "TRUTH", "CellStyle", "stripped"]

MISSING: Final = frozenset({"", "NA", "N/A", "NaN", "nan", "NAN", "null", "NULL", "Null"})
"""How a cell says that it has no value."""

TRUTH: Final = {"true": True, "false": False}
"""Truth values in lower case; a cell may write them in any."""

_BEGINS_NUMBER: Final = frozenset("+-.0123456789iI")


@dataclass(frozen=True)
class CellStyle:
    """How a file writes numbers, and what stands for no value.

    Parameters
    ----------
    missing
        Cells that have no value.
    decimal
        The point of a number.
    thousands
        What groups its digits by three; nothing if empty.
    numeric
        Whether a cell may be a number; else each is text, whatever is written in it.
    """

    missing: AbstractSet[str] = MISSING
    decimal: str = "."
    thousands: str = ""
    numeric: bool = True

    @classmethod
    def of(cls, options: CsvOptions) -> CellStyle:
        """Return the style of a file that is read with options."""
        return cls(MISSING.union(options.missing), options.decimal, options.thousands or "")

    @cached_property
    def is_plain(self) -> bool:
        """Whether numbers are written as programs write them."""
        return self.decimal == "." and not self.thousands and self.numeric

    @cached_property
    def pattern(self) -> str:
        """A regular expression of a whole number or decimal, in the dialect that Python and RE2 share."""
        whole = r"[0-9]+"
        if self.thousands:
            whole = rf"(?:[0-9]{{1,3}}(?:{re.escape(self.thousands)}[0-9]{{3}})+|{whole})"
        point = re.escape(self.decimal)
        digits = rf"(?:{whole}(?:{point}[0-9]*)?|{point}[0-9]+)(?:[eE][+-]?[0-9]+)?"
        return rf"^[+-]?(?:{digits}|[iI][nN][fF](?:[iI][nN][iI][tT][yY])?)$"

    @cached_property
    def _number(self) -> re.Pattern[str]:
        return re.compile(self.pattern, re.ASCII)

    def is_missing(self, cell: str) -> bool:
        """Whether a cell has no value: it is one of the marks that say so."""
        return cell in self.missing or cell.strip() in self.missing

    def number(self, cell: str) -> float | None:
        """Return the number that a cell is, which may be infinite; ``None`` if it is none."""
        cell = cell.strip()
        if self.is_plain:
            return _plain_number(cell)
        if not self.numeric or self._number.match(cell) is None:
            return None
        cell = cell.replace(self.thousands, "") if self.thousands else cell
        return float(cell.replace(self.decimal, "."))

    def meanings(self, cells: Sequence[str]) -> list[float | str | None]:
        """Return what cells stand for: numbers, ``None`` where there is no value, or text without spaces around."""
        if self._tells_numbers:
            together = "".join(cells)
            if together.isascii() and "_" not in together:  # as in ``_plain_number``
                with suppress(ValueError):
                    numbers = list(map(float, cells))
                    if not any(map(math.isnan, numbers)):
                        return [*numbers]
        return [self._meaning(cell) for cell in cells]

    @cached_property
    def _tells_numbers(self) -> bool:
        """Whether what Python reads as a number is one, and no mark of a missing value."""
        return self.is_plain and not any(_plain_number(mark) is not None for mark in self.missing)

    def _meaning(self, cell: str) -> float | str | None:
        if self.is_missing(cell):
            return None
        number = self.number(cell)
        return cell.strip() if number is None else number


def _plain_number(cell: str) -> float | None:
    """Do what ``CellStyle.pattern`` says, a third as long: Python reads the same but for what is looked for before."""
    if not cell or cell[0] not in _BEGINS_NUMBER or "_" in cell or not cell.isascii():
        return None
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if number == number else None  # noqa: PLR0124 - of a NaN with a sign


PLAIN: Final = CellStyle()
"""The style of a file without options."""


def stripped(counts: Mapping[str, int], style: CellStyle = PLAIN) -> Counter[str]:
    """Leave out the missing cells, and the spaces around the others."""
    labels = Counter[str]()
    for cell, count in counts.items():
        label = cell.strip()
        if label not in style.missing:
            labels[label] += count
    return labels
