"""The schema of an uploaded file, whatever its format."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from dropout_service.datasets.array_scan import array_columns, text_column
from dropout_service.datasets.arrays import open_npy, read_npz
from dropout_service.datasets.dataset import AS_IT_IS, COLUMNAR, BadCell, Column, CsvOptions, DatasetFormat, TableSchema
from dropout_service.datasets.likeness import related
from dropout_service.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dropout_service.budgets import Budgets
    from dropout_service.datasets.likeness import Likeness

__all__ = ["detect_format", "format_of", "scan"]

_BAD_CELLS_OF_TABLE: Final = 50
_MAGIC: Final[tuple[tuple[bytes, DatasetFormat], ...]] = (
    (b"\x93NUMPY", "npy"),
    (b"PK\x03\x04", "npz"),
    (b"PK\x05\x06", "npz"),
    (b"PAR1", "parquet"),
    (b"ARROW1", "arrow"),
    (b"\xff\xff\xff\xff", "arrows"),
)
"""How files of each format begin."""
_MAGIC_BYTES: Final = 6


def detect_format(path: Path) -> DatasetFormat:
    """Tell the format of a file by its first bytes; what is none of the others is taken for csv."""
    with path.open("rb") as file:
        return format_of(file.read(_MAGIC_BYTES))


def format_of(content: bytes | memoryview) -> DatasetFormat:
    """Tell the format of content that is in memory; see ``detect_format``."""
    start = bytes(content[:_MAGIC_BYTES])
    for magic, kind in _MAGIC:
        if start.startswith(magic):
            return kind
    return "csv"


def scan(
    path: Path,
    format: DatasetFormat,  # noqa: A002 - the field's word
    budgets: Budgets,
    options: CsvOptions = AS_IT_IS,
) -> TableSchema:
    """Read a file and describe every column.

    Parameters
    ----------
    path
        The file.
    format
        How it is written.
    budgets
        Bounds of its columns, and of its arrays when they are unpacked.
    options
        How a CSV file is read.

    Raises
    ------
    InvalidInputError
        The file is not what it should be; the message names the row, the column or the byte.
    OverBudgetError
        It has too many columns, or unpacks to too much.
    """
    if format == "csv":
        # PyArrow takes a third of a second and 40 MB, which a service pays that reads a table, and not before.
        from dropout_service.datasets.csv_text.scan import scan_csv  # noqa: PLC0415 - as said

        rows, columns, found = scan_csv(path, budgets, options)
        return replace(_schema(rows, columns, target=columns[-1][0].name), options=found)
    if options != AS_IT_IS:
        names = [f"`{name}`" for name in {"header": None, "missing": None, **options.to_json()}]
        raise InvalidInputError(f"{', '.join(names[:-1])} and {names[-1]} are for csv; this is {format}")
    if format in COLUMNAR:
        from dropout_service.datasets.columnar.scan import scan_columnar  # noqa: PLC0415 - as above

        rows, columns = scan_columnar(path, format, budgets)
        target = next(column.name for column, _ in reversed(columns) if column.type != "other")
        return _schema(rows, columns, target=target)
    if format == "npy":
        array = open_npy(path, budgets)
        names = [f"c{index}" for index in range(array.shape[1])]
        return _schema(len(array), _related(len(array), array_columns(array, names)), target=names[-1])
    content = read_npz(path, budgets)
    columns = array_columns(content.x, content.feature_names)
    if content.y.dtype.kind == "U":
        columns.append(text_column("y", content.y))
    else:
        columns += array_columns(content.y[:, None], ["y"])
    return _schema(len(content.x), _related(len(content.x), columns), target="y")


def _related(
    rows: int, columns: Sequence[tuple[Column, list[BadCell], Likeness]]
) -> list[tuple[Column, list[BadCell]]]:
    described, bad_cells, likeness = zip(*columns, strict=True)
    return list(zip(related(rows, described, likeness), bad_cells, strict=True))


def _schema(rows: int, columns: Sequence[tuple[Column, list[BadCell]]], *, target: str) -> TableSchema:
    bad_cells = [cell for _, cells in columns for cell in cells]
    return TableSchema(
        rows, tuple(column for column, _ in columns), target, bad_cells=tuple(bad_cells[:_BAD_CELLS_OF_TABLE])
    )
