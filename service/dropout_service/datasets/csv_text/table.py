"""Read a CSV file (RFC 4180) in blocks of rows, and name the place of whatever is wrong with it.

PyArrow parses; the file is never in memory as a whole.
"""

from __future__ import annotations

import codecs
import csv
import io
from contextlib import closing
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from dropout_service.datasets.arrow import arrow_csv, pa, pc
from dropout_service.datasets.cells import CellStyle
from dropout_service.datasets.csv_text.header import SAMPLE_ROWS, Sample, column_names, sample
from dropout_service.datasets.csv_text.source import MAX_LINE_BYTES, Utf8Source, detect_encoding
from dropout_service.datasets.dataset import AS_IT_IS
from dropout_service.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from dropout_service.budgets import Budgets
    from dropout_service.datasets.arrow import Batch, Cells
    from dropout_service.datasets.dataset import CsvOptions, Encoding

__all__ = ["CsvTable"]

_DELIMITERS: Final = ",;\t"
_SAMPLE_BYTES: Final = 1 << 18
_BLOCK_BYTES: Final = 1 << 22
"""Parsed at a time, where the first rows take no more than the sample."""
_BLOCK_CELLS: Final = 1 << 20
_COUNTED_BYTES: Final = 1 << 26
"""Of a larger file the lines are not counted to name a place."""
_MAX_CELL_BYTES: Final = 131_072
_END: Final = "\0end"
"""First cell of a row that is added behind the last: one that is not found there is in a cell that was never closed."""


class CsvTable:
    """A CSV file, with a header unless the options say otherwise.

    Parameters
    ----------
    path
        The file.
    budgets
        Bound of its columns; ``None`` for what was found acceptable before.
    options
        How it is read; what they leave open is found out.

    Raises
    ------
    InvalidInputError
        It is not text of its encoding, or has no usable header.
    OverBudgetError
        It has too many columns.
    """

    def __init__(self, path: Path, budgets: Budgets | None = None, options: CsvOptions = AS_IT_IS) -> None:
        _check_options(options)
        self._path = path
        self._options = options
        self.encoding: Encoding = options.encoding or detect_encoding(path)
        """The encoding, said or found."""
        self.style = CellStyle.of(options)
        """How its cells are written."""
        self._spaced: str | None = None
        first, self._skip_bytes = self._first_rows()
        self._delimiter = first.delimiter
        header, *rows = first.rows
        if budgets is not None:
            budgets.check("columns", len(header))
        self.names = (
            column_names(header, rows, self.style)
            if options.header
            else tuple(f"c{index}" for index in range(len(header)))
        )
        """Names of the columns."""

    @property
    def found(self) -> CsvOptions:
        """The options, with what an earlier version would not find out by itself."""
        encoding = None if self.encoding == "utf-8" else self.encoding
        return replace(self._options, encoding=self._options.encoding or encoding)

    def blocks(self, columns: Sequence[int] | None = None) -> Iterator[tuple[int, list[Cells]]]:
        """Read the rows.

        Parameters
        ----------
        columns
            Places of those to read; ``None`` for all.

        Yields
        ------
        tuple
            The number of the block's first row, from 1, and the cells of each column: strings with the spaces around
            them, null where there is no value. A few cells that have none may still be there as the mark that says so.

        Raises
        ------
        InvalidInputError
            A row has too many or too few cells, a cell is too long or never closed, or a byte is no text.
        """
        places = range(len(self.names)) if columns is None else columns
        block_rows = max(1, _BLOCK_CELLS // max(1, len(places)))
        first = 1
        for batch in self._batches(sorted({0, *places})):
            _check_cells(batch, self.names, first)
            for start in range(0, batch.num_rows, block_rows):
                part = batch.slice(start, block_rows)
                yield first + start, [part.column(str(place)) for place in places]
            first += batch.num_rows

    def _batches(self, columns: Sequence[int]) -> Iterator[Batch]:
        """Parse the rows; the last is the one that was added, and is left out."""
        width = len(self.names)
        uneven: list[tuple[int, int, str]] = []

        def refuse(row: Any) -> str:
            uneven.append((row.number, row.actual_columns, row.text))
            return "error"

        rows, held = 0, None
        names = [str(index) for index in range(width)]
        end = f"\n{_END}{self._delimiter * (width - 1)}\n".encode()
        with closing(self._source(skip_bytes=self._skip_bytes, end=end)) as source:
            try:
                reader = arrow_csv.open_csv(
                    pa.PythonFile(source, "r"),
                    read_options=arrow_csv.ReadOptions(
                        use_threads=False, block_size=self._block_bytes, column_names=names
                    ),
                    parse_options=arrow_csv.ParseOptions(
                        delimiter=self._delimiter, newlines_in_values=True, invalid_row_handler=refuse
                    ),
                    convert_options=arrow_csv.ConvertOptions(
                        check_utf8=False,
                        column_types=dict.fromkeys(names, pa.string()),
                        include_columns=[str(place) for place in columns],
                        null_values=sorted(self.style.missing),
                        strings_can_be_null=True,
                    ),
                )
                for batch in reader:
                    if held is not None:
                        yield held
                        rows += held.num_rows
                    held = batch if batch.num_rows else held
            except pa.ArrowInvalid as error:
                rows += 0 if held is None else held.num_rows
                raise self._explained(error, uneven, rows) from error
        if held is None or held.column(0)[-1].as_py() != _END:
            row = rows + (0 if held is None else held.num_rows)
            raise InvalidInputError(f"{self._place(row)}: a quoted cell is never closed")
        if held.num_rows > 1:
            yield held.slice(0, held.num_rows - 1)

    def _explained(self, error: Exception, uneven: Sequence[tuple[int, int, str]], rows: int) -> InvalidInputError:
        """Say what is wrong with a file of which so many rows were read."""
        width = len(self.names)
        if "straddling" in str(error):
            long = f"{self._place(rows + 1)} has more than {self._block_bytes:,} characters"
            return InvalidInputError(f"{long}; is a quoted cell never closed?")
        if not uneven:
            return InvalidInputError(f"behind row {rows:,}: {error}")
        row, cells, text = uneven[0]
        if _END in text:
            return InvalidInputError(f"{self._place(row)}: a quoted cell is never closed")
        hint = "; is a cell with the delimiter in it not quoted?" if cells > width else ""
        first = "header" if self._options.header else "first row"
        return InvalidInputError(f"row {row} has {cells} cells, but the {first} has {width} columns{hint}")

    def _place(self, row: int) -> str:
        """Name a row by its number, and by its line if that is soon found."""
        if self._path.stat().st_size > _COUNTED_BYTES:
            return f"row {row}"
        with closing(self._source()) as source:
            reader = csv.reader(io.StringIO(source.readall().decode(), newline=""), delimiter=self._delimiter)
        for _ in islice(filter(None, reader), row - 1 + self._options.header):
            pass
        return f"row {row}, line {reader.line_num + 1}"

    def _source(self, *, skip_bytes: int = 0, end: bytes = b"") -> Utf8Source:
        options = self._options
        return Utf8Source(
            self._path, self.encoding, comment=options.comment, spaced=self._spaced, skip_bytes=skip_bytes, end=end
        )

    def _first_rows(self) -> tuple[Sample, int]:
        """Return the first rows, and how many bytes the header takes."""
        delimiters = self._options.delimiter or [
            mark for mark in _DELIMITERS if mark not in {self._options.decimal, self._options.thousands}
        ]
        for most in (_SAMPLE_BYTES, MAX_LINE_BYTES):
            with closing(self._source()) as source:
                content = source.read(most)
                whole = not source.read(1)
            text = codecs.getincrementaldecoder("utf-8")().decode(content)
            first = sample(text, delimiters, whole=whole)
            if whole or len(first.rows) > SAMPLE_ROWS:
                break
        self._block_bytes = _BLOCK_BYTES if most == _SAMPLE_BYTES else MAX_LINE_BYTES
        if not first.rows:
            if whole:
                raise InvalidInputError("the file is empty; it needs a header row with column names, then the data")
            raise InvalidInputError(f"line 1 has more than {MAX_LINE_BYTES:,} characters; is this a CSV file?")
        if first.spaced and self._spaced is None:
            self._spaced = first.delimiter
            return self._first_rows()
        return first, len(text[: first.first_chars].encode()) if self._options.header else 0


def _check_options(options: CsvOptions) -> None:
    """Check that no character means two things."""
    meanings: dict[str, str] = {}
    for name in ("decimal", "thousands", "delimiter", "comment"):
        mark = getattr(options, name)
        if mark is not None and meanings.setdefault(mark, name) != name:
            message = f"{mark!r} is both the {meanings[mark]} and the {name} of the file; it can be one of them"
            raise InvalidInputError.at(f"/{name}", message)


def _check_cells(batch: Batch, names: Sequence[str], first_row: int) -> None:
    for field, cells in zip(batch.schema.names, batch.columns, strict=True):
        if cells.nbytes <= _MAX_CELL_BYTES:  # all of its cells together
            continue
        lengths = pc.binary_length(cells)
        if (pc.max(lengths).as_py() or 0) > _MAX_CELL_BYTES:
            row = first_row + pc.index(pc.greater(lengths, _MAX_CELL_BYTES), value=True).as_py()
            raise InvalidInputError(
                f"row {row}, column `{names[int(field)]}`: a cell has more than {_MAX_CELL_BYTES:,} characters; "
                "is a quoted cell never closed?"
            )
