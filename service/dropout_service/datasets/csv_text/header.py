"""The first rows of a CSV file: what delimits its cells, and the names of its columns."""

from __future__ import annotations

import csv
import io
from collections import Counter
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from dropout_service.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dropout_service.datasets.cells import CellStyle

__all__ = ["SAMPLE_ROWS", "Sample", "column_names", "sample"]

SAMPLE_ROWS: Final = 20
"""So many rows beneath the first are looked at."""
_MAX_DIGITS: Final = 18  # of what counts columns or years; Python reads no integer of thousands of digits


class Sample(NamedTuple):
    """The first rows of a file, as a delimiter splits them.

    Parameters
    ----------
    delimiter
        What is between cells.
    rows
        The first is the header if there is one. A row has a cell more than that if it has any number more.
    first_chars
        Characters up to the end of the first row.
    spaced
        Whether cells are quoted behind a space.
    """

    delimiter: str
    rows: list[list[str]]
    first_chars: int
    spaced: bool = False


def sample(text: str, delimiters: Iterable[str], *, whole: bool) -> Sample:
    """Choose the delimiter that splits the first rows evenly and into the most columns.

    Lenient with quotes, which cannot match under a wrong delimiter; the parser is not.

    Parameters
    ----------
    text
        The beginning of the file.
    delimiters
        Those to choose from; of equals the first.
    whole
        Whether that is all of it; else the last row is not looked at, which may be cut.

    Raises
    ------
    InvalidInputError
        A cell is too long.
    """
    best, found = (False, -1), Sample("", [], 0)
    faults: list[InvalidInputError] = []
    for delimiter in delimiters:
        try:
            split = _split(text, delimiter, whole=whole)
        except InvalidInputError as error:  # under a wrong delimiter a whole line may be one cell, and too long
            faults.append(error)
            continue
        width = len(split.rows[0]) if split.rows else 0
        even = width > 1 and all(len(cells) == width for cells in split.rows)
        if (even, width) > best:
            best, found = (even, width), split
    if best == (False, -1):
        raise faults[0]
    strict = (
        _split(text, found.delimiter, whole=whole, spaces=True).rows if f"{found.delimiter} " in text else found.rows
    )
    return found._replace(spaced=[*map(_stripped, strict)] != [*map(_stripped, found.rows)])


def _stripped(cells: Iterable[str]) -> list[str]:
    return [cell.strip() for cell in cells]


def _split(text: str, delimiter: str, *, whole: bool, spaces: bool = False) -> Sample:
    lines = io.StringIO(text, newline="")
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=not spaces)
    rows: list[list[str]] = []
    first_chars = 0
    try:
        for cells in islice(filter(None, reader), 1 + SAMPLE_ROWS + (not whole)):
            if not rows:
                first_chars = lines.tell()
            # A cell too many tells as much as millions, which a wrong delimiter may find.
            rows.append(cells[: len(rows[0]) + 1] if rows else cells)
    except csv.Error as error:
        message = f"a cell has more than {csv.field_size_limit():,} characters; is a quoted cell never closed?"
        raise InvalidInputError(f"line {reader.line_num}: {message}") from error
    at_end = not lines.read(1)
    return Sample(delimiter, rows[:-1] if at_end and not whole else rows[: 1 + SAMPLE_ROWS], first_chars)


def column_names(header: Sequence[str], rows: Sequence[Sequence[str]], style: CellStyle) -> tuple[str, ...]:
    """Read the names of the columns.

    Parameters
    ----------
    header
        The first row.
    rows
        Some of those beneath.
    style
        How their cells are written.

    Raises
    ------
    InvalidInputError
        The first row looks like data, or its names are empty or not distinct.
    """
    names = tuple(cell.strip() for cell in header)
    if any("\0" in name for name in names):
        raise InvalidInputError("the file is not text: its first line has bytes of value 0")
    if _looks_like_data(names, rows, style):
        raise InvalidInputError(
            f"the first row ({_shown(names)}) looks like data; give a header row with the names of the columns, or say "
            "that there is none (`header=false`)"
        )
    empty = [str(index) for index, name in enumerate(names, start=1) if not name]
    if empty:
        raise InvalidInputError(
            f"the header has no name for column {', '.join(empty[:10])} of {len(names)}; "
            "name every column (pandas writes an unnamed index unless told `index=False`)"
        )
    doubles = sorted(name for name, times in Counter(names).items() if times > 1)
    if doubles:
        raise InvalidInputError(f"the header names more than one column {_shown(doubles)}; names must be distinct")
    return names


def _looks_like_data(names: Sequence[str], rows: Sequence[Sequence[str]], style: CellStyle) -> bool:
    """Whether the first row is no header: its cells are numbers wherever the rows beneath have numbers."""
    columns = list(zip(*rows, strict=False)) or [()] * len(names)
    numeric: list[int] = []
    for index, (name, cells) in enumerate(zip(names, columns, strict=False)):
        if _is_numeric(cells, style) or not cells:
            if style.number(name) is None:
                return False
            numeric.append(index)
    if not numeric:
        return False
    # Columns may be named by number, 0, 1, 2, ... or 1990, 1991, ...; rows of data do not all count up by one.
    return not rows or not _counts_up(names, numeric) or _counts_up(rows[0], numeric)


def _counts_up(cells: Sequence[str], columns: Sequence[int]) -> bool:
    cells_there = (cells[index] for index in columns if index < len(cells))
    numbers = [cell for cell in cells_there if len(cell) <= _MAX_DIGITS and cell.isdecimal()]
    return len(numbers) == len(columns) > 1 and all(int(b) == int(a) + 1 for a, b in pairwise(numbers))


def _is_numeric(cells: Sequence[str], style: CellStyle) -> bool:
    present = [cell for cell in cells if not style.is_missing(cell)]
    return bool(present) and all(style.number(cell) is not None for cell in present)


def _shown(names: Sequence[str], limit: int = 5) -> str:
    shown = ", ".join(repr(name[:40]) for name in names[:limit])
    return shown if len(names) <= limit else f"{shown}, ..."
