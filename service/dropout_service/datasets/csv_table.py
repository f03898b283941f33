"""Read a CSV file (RFC 4180) in blocks of rows, and name the place of whatever is wrong with it.

Beyond the RFC: ``;`` and tab are recognised as delimiters, blank lines are skipped, and spaces around a cell do
not count. The file is never in memory as a whole.
"""

from __future__ import annotations

import codecs
import csv
from collections import Counter
from contextlib import closing
from functools import partial
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Final, TextIO

from dropout_service.datasets.cells import is_missing, is_number, missing_marks
from dropout_service.datasets.dataset import AS_IT_IS
from dropout_service.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from pathlib import Path

    from dropout_service.budgets import Budgets
    from dropout_service.datasets.dataset import CsvOptions

__all__ = ["CsvTable"]

_BLOCK_CELLS: Final = 8192  # the cells of a block stay in the cache: a third less time than with 65,536
_MIN_BLOCK_ROWS: Final = 128  # each column of a block costs some microseconds

_DELIMITERS: Final = ",;\t"
_MAX_LINE_CHARS: Final = 1 << 24
_SAMPLE_ROWS: Final = 20
_MAX_DIGITS: Final = 18  # of what counts columns or years; Python reads no integer of thousands of digits
_UTF16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class CsvTable:
    """A CSV file, with a header unless the options say otherwise.

    Parameters
    ----------
    path
        The file, UTF-8 with or without a byte order mark.
    budgets
        Bound of its columns; ``None`` for what was found acceptable before.
    options
        Whether it has a header, and what stands for no value.

    Raises
    ------
    InvalidInputError
        It is not text in UTF-8, or has no usable header.
    OverBudgetError
        It has too many columns.
    """

    def __init__(self, path: Path, budgets: Budgets | None = None, options: CsvOptions = AS_IT_IS) -> None:
        self._path = path
        self.options = options
        self.missing = missing_marks(options.missing)
        """What stands for no value."""
        with path.open("rb") as file:
            if file.read(2) in _UTF16:
                raise InvalidInputError("the file is text in UTF-16; save it as UTF-8")
        self.delimiter, sample = self._detect()
        if not sample:
            raise InvalidInputError("the file is empty; it needs a header row with column names, then the data")
        if budgets is not None:
            budgets.check("columns", len(sample[0]))
        self.names = (
            _names(sample[0], sample[1:]) if options.header else tuple(f"c{index}" for index in range(len(sample[0])))
        )
        """Names of the columns."""

    def blocks(self) -> Iterator[tuple[int, list[tuple[str, ...]]]]:
        """Read the rows.

        Yields
        ------
        tuple
            The number of the block's first row, from 1, and the cells of each column.

        Raises
        ------
        InvalidInputError
            A row has too many or too few cells, or its quotes do not match.
        """
        width = len(self.names)
        block_rows = max(_MIN_BLOCK_ROWS, _BLOCK_CELLS // width)
        first = 1
        with closing(self._rows(self.delimiter)) as rows:
            if self.options.header:
                next(rows)
            even = self._even(rows)
            while block := list(islice(even, block_rows)):
                yield first, list(zip(*block, strict=True))
                first += len(block)

    def _even(self, rows: Iterator[list[str]]) -> Iterator[list[str]]:
        """Yield the rows as long as each has a cell for each column: one that has millions more is not kept."""
        width = len(self.names)
        for row, cells in enumerate(rows, start=1):
            if len(cells) != width:
                hint = "; is a cell with the delimiter in it not quoted?" if len(cells) > width else ""
                first = "header" if self.options.header else "first row"
                raise InvalidInputError(f"row {row} has {len(cells)} cells, but the {first} has {width} columns{hint}")
            yield cells

    def _detect(self) -> tuple[str, list[list[str]]]:
        """Choose the delimiter that splits the first rows evenly and into the most columns.

        Lenient with quotes, which cannot match under a wrong delimiter; ``blocks`` is strict.
        """
        best = (False, -1), "", list[list[str]]()
        faults: list[InvalidInputError] = []
        for delimiter in _DELIMITERS:
            try:
                sample = self._sample(delimiter)
            except InvalidInputError as error:  # under a wrong delimiter a whole line may be one cell, and too long
                faults.append(error)
                continue
            width = len(sample[0]) if sample else 0
            even = width > 1 and all(len(cells) == width for cells in sample)
            if (even, width) > best[0]:
                best = (even, width), delimiter, sample
        if len(faults) == len(_DELIMITERS):
            raise faults[0]
        return best[1], best[2]

    def _sample(self, delimiter: str) -> list[list[str]]:
        with closing(self._rows(delimiter, strict=False)) as rows:
            header = next(rows, [])
            # A cell too many tells as much as millions, which a wrong delimiter may find.
            return [header, *(cells[: len(header) + 1] for cells in islice(rows, _SAMPLE_ROWS))] if header else []

    def _rows(self, delimiter: str, *, strict: bool = True) -> Generator[list[str]]:
        with self._path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(_lines(file), delimiter=delimiter, skipinitialspace=True, strict=strict)
            try:
                yield from filter(None, reader)
            except UnicodeDecodeError:
                position, byte = _first_undecodable(self._path)
                raise InvalidInputError(
                    f"byte {position} of the file (0x{byte:02x}) is not UTF-8 text; save the file as CSV in UTF-8"
                ) from None
            except csv.Error as error:
                raise InvalidInputError(f"line {reader.line_num}: {_explained(str(error))}") from error


def _explained(error: str) -> str:
    if error.startswith("unexpected end of data"):
        return "a quoted cell is never closed"
    if error.startswith("field larger than"):
        return f"a cell has more than {csv.field_size_limit():,} characters; is a quoted cell never closed?"
    return f"quotes do not match ({error}); a quote inside a quoted cell is written twice"


def _lines(file: TextIO) -> Iterator[str]:
    # A bound, so that a file without line ends does not come into memory as a whole.
    for number, line in enumerate(iter(partial(file.readline, _MAX_LINE_CHARS), ""), start=1):
        if len(line) == _MAX_LINE_CHARS:
            raise InvalidInputError(f"line {number} has more than {_MAX_LINE_CHARS:,} characters; is this a CSV file?")
        yield line


def _first_undecodable(path: Path) -> tuple[int, int]:
    decoder = codecs.getincrementaldecoder("utf-8")()
    position = 0
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            pending = len(decoder.getstate()[0])
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError as error:
                return position - pending + error.start, error.object[error.start]
            position += len(chunk)
    pending = decoder.getstate()[0]  # the file ends within a character
    return position - len(pending), pending[0]


def _names(header: Sequence[str], sample: Sequence[Sequence[str]]) -> tuple[str, ...]:
    names = tuple(cell.strip() for cell in header)
    if any("\0" in name for name in names):
        raise InvalidInputError("the file is not text: its first line has bytes of value 0")
    if _looks_like_data(names, sample):
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


def _looks_like_data(names: Sequence[str], sample: Sequence[Sequence[str]]) -> bool:
    """Whether the first row is no header: its cells are numbers wherever the rows beneath have numbers."""
    columns = list(zip(*sample, strict=False)) or [()] * len(names)
    numeric = [index for index, cells in enumerate(columns[: len(names)]) if _is_numeric(cells) or not cells]
    if not numeric or not all(is_number(names[index]) for index in numeric):
        return False
    # Columns may be named by number, 0, 1, 2, ... or 1990, 1991, ...; rows of data do not all count up by one.
    return not sample or not _counts_up(names, numeric) or _counts_up(sample[0], numeric)


def _counts_up(cells: Sequence[str], columns: Sequence[int]) -> bool:
    cells_there = (cells[index] for index in columns if index < len(cells))
    numbers = [cell for cell in cells_there if len(cell) <= _MAX_DIGITS and cell.isdecimal()]
    return len(numbers) == len(columns) > 1 and all(int(b) == int(a) + 1 for a, b in pairwise(numbers))


def _is_numeric(cells: Sequence[str]) -> bool:
    present = [cell for cell in cells if not is_missing(cell)]
    return bool(present) and all(map(is_number, present))


def _shown(names: Sequence[str], limit: int = 5) -> str:
    shown = ", ".join(repr(name[:40]) for name in names[:limit])
    return shown if len(names) <= limit else f"{shown}, ..."
