"""``Dataset`` and the ``TableSchema`` that says what is in it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "AS_IT_IS",
    "COLUMNAR",
    "FORMATS",
    "BadCell",
    "ClassCount",
    "Column",
    "ColumnType",
    "ColumnarFormat",
    "CsvOptions",
    "Dataset",
    "DatasetFormat",
    "Encoding",
    "TableSchema",
]

PartT = TypeVar("PartT", "BadCell", "ClassCount", "Column")

DatasetFormat = Literal["csv", "npy", "npz", "parquet", "arrow", "arrows"]
"""``arrow`` and ``arrows``: the file and the stream of Arrow IPC."""
ColumnarFormat = Literal["parquet", "arrow", "arrows"]
COLUMNAR: Final = ("parquet", "arrow", "arrows")
"""Formats of files whose columns have types."""
FORMATS: tuple[DatasetFormat, ...] = get_args(DatasetFormat)

Encoding = Literal["utf-8", "utf-16", "latin-1", "cp1252"]

ColumnType = Literal["integer", "number", "boolean", "text", "empty", "other"]
"""``integer``: every number is whole (``3`` or ``3.0``). ``empty``: no cell has a value. ``other``: what no training
reads, such as lists, structures and bytes."""


@dataclass(frozen=True, slots=True)
class ClassCount:
    """How often a value occurs in a column of few distinct values."""

    label: str | int | float | bool
    count: int


@dataclass(frozen=True, slots=True)
class BadCell:
    """A cell that does not fit the type of its column.

    Parameters
    ----------
    row
        Number of the row, from 1; the header is not counted.
    column
        Name of the column.
    value
        The cell, shortened if it is long.
    message
        What is wrong with it.
    """

    row: int
    column: str
    value: str
    message: str


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Parameters
    ----------
    name, type
        Its name, and the type that at least nine in ten of its values have.
    missing
        Cells without a value.
    bad
        Cells that do not fit the type: text among numbers, infinities.
    distinct
        Number of distinct values, without the missing and the bad ones; a lower bound when not ``distinct_exact``.
    min, max, mean, std
        Of the finite numbers (``std``: population standard deviation, ddof 0); ``None`` in other columns.
    classes
        Every value with its count, in sorted order, when there are at most 100 of them (20 of fractional
        numbers).
    constant
        Whether all its values are equal, so that nothing can be learned from it.
    date
        Whether each value of a column of text is a date or time of ISO 8601.
    stored
        The type that a column of a Parquet or Arrow file has there; ``None`` in other files.
    same_as
        The first column that has the same values in all rows, if that is an earlier one.
    one_to_one
        The first column whose values go one to one with those of this, if that is an earlier one.
    """

    name: str
    type: ColumnType
    missing: int
    bad: int
    distinct: int
    distinct_exact: bool
    min: float | None
    max: float | None
    mean: float | None
    std: float | None
    classes: tuple[ClassCount, ...] | None
    constant: bool
    date: bool = False
    stored: str | None = None
    same_as: str | None = None
    one_to_one: str | None = None


@dataclass(frozen=True, slots=True)
class CsvOptions:
    """How a CSV file is read, beyond what it tells itself.

    Parameters
    ----------
    header
        Whether its first row has the names of the columns; else they are ``c0``, ``c1``, ...
    missing
        Cells that stand for no value, beside those that always do; sorted.
    encoding
        Of the text; ``None`` is UTF-8 once the file has been looked through, and what it looks like before.
    delimiter
        What is between cells; ``None`` for comma, semicolon or tab, whichever it looks like.
    decimal, thousands
        The point of a number, and what groups its digits by three; ``None`` for nothing.
    comment
        What a line begins with that is none of the table; ``None`` for nothing.
    """

    header: bool = True
    missing: tuple[str, ...] = ()
    encoding: Encoding | None = None
    delimiter: str | None = None
    decimal: str = "."
    thousands: str | None = None
    comment: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Give what was said, as plain JSON values: an option that has its default is left out."""
        return {name: value for name, value in asdict(self).items() if value != getattr(AS_IT_IS, name)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> CsvOptions:
        """Read what ``to_json`` of this or an earlier version has written.

        Raises
        ------
        TypeError
            An option that this version does not know: the file would be read in another way.
        """
        fields: dict[str, Any] = {**value, "missing": tuple(value.get("missing", ()))}
        return cls(**fields)


AS_IT_IS: Final = CsvOptions()
"""The options of a file that is read as it is."""


@dataclass(frozen=True)
class TableSchema:
    """What is in a dataset.

    Parameters
    ----------
    rows
        Number of rows, without the header.
    columns
        The columns in their order; an npz has the columns of ``x``, then ``y``.
    target
        The column that a training predicts unless its spec names another.
    bad_cells
        The first few cells that do not fit, in the order of the columns.
    options
        How a CSV file was read.
    """

    rows: int
    columns: tuple[Column, ...]
    target: str
    bad_cells: tuple[BadCell, ...] = ()
    options: CsvOptions = AS_IT_IS

    def column(self, name: str) -> Column | None:
        """Find a column by its name."""
        return self._by_name.get(name)

    @cached_property
    def _by_name(self) -> dict[str, Column]:
        return {column.name: column for column in self.columns}

    def to_json(self) -> dict[str, Any]:
        """Give the schema as plain JSON values."""
        columns = [
            _plain(column) | {"classes": None if column.classes is None else [*map(_plain, column.classes)]}
            for column in self.columns
        ]
        document: dict[str, Any] = {"rows": self.rows, "columns": columns, "target": self.target}
        document["bad_cells"] = [*map(_plain, self.bad_cells)]
        if self.options != AS_IT_IS:
            document["options"] = self.options.to_json()
        return document

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> TableSchema:
        """Read what ``to_json`` has written; what a later version wrote beside it is left out."""
        columns = tuple(_column(column) for column in value["columns"])
        bad_cells = tuple(_known(BadCell, cell) for cell in value["bad_cells"])
        return cls(
            rows=value["rows"],
            columns=columns,
            target=value["target"],
            bad_cells=bad_cells,
            options=CsvOptions.from_json(value.get("options", {})),
        )


@dataclass(frozen=True, slots=True)
class Dataset:
    """A stored dataset.

    Parameters
    ----------
    id
        ``sha256-`` and the first 32 hexadecimal digits of the content's SHA-256: equal content, equal id. With options,
        those of the SHA-256 of content and options.
    name
        A name for people.
    format
        How the content is written.
    size_bytes
        Size of the content.
    digest
        ``sha256:`` and all 64 digits.
    schema
        What is in it.
    blob_key
        Where the content is.
    created_at
        Seconds since 1970 by the database's clock.
    unreadable
        Why the schema cannot be read, which has no columns then; ``None`` otherwise.
    """

    id: str
    name: str
    format: DatasetFormat
    size_bytes: int
    digest: str
    schema: TableSchema
    blob_key: str
    created_at: float
    unreadable: str | None = None


def _column(value: dict[str, Any]) -> Column:
    classes = value["classes"]
    counts = None if classes is None else tuple(_known(ClassCount, count) for count in classes)
    return _known(Column, {**value, "classes": counts})


def _known(kind: type[PartT], value: Mapping[str, Any]) -> PartT:
    return kind(**{name: value[name] for name in _NAMES[kind] if name in value})


def _plain(part: PartT) -> dict[str, Any]:
    """Do what ``asdict`` does of a part without parts, of which a wide table has a million, a tenth as long."""
    return {name: getattr(part, name) for name in _NAMES[type(part)]}


_NAMES: Final[Mapping[type, tuple[str, ...]]] = {
    kind: tuple(field.name for field in fields(kind)) for kind in (BadCell, ClassCount, Column)
}
