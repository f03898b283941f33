"""Look through a CSV file once and describe its columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dropout_service.datasets.cell_column import CellColumn
from dropout_service.datasets.csv_text.table import CsvTable
from dropout_service.datasets.likeness import related
from dropout_service.datasets.statistics import Detail
from dropout_service.datasets.workers import each_block
from dropout_service.errors import InvalidInputError

if TYPE_CHECKING:
    from pathlib import Path

    from dropout_service.budgets import Budgets
    from dropout_service.datasets.dataset import BadCell, Column, CsvOptions

__all__ = ["scan_csv"]


def scan_csv(
    path: Path, budgets: Budgets, options: CsvOptions
) -> tuple[int, list[tuple[Column, list[BadCell]]], CsvOptions]:
    """Describe the columns of a CSV file.

    Returns
    -------
    rows
        Without the header.
    columns
        Each with its first bad cells.
    options
        With what was found out.

    Raises
    ------
    InvalidInputError
        A row cannot be read, or there is none.
    OverBudgetError
        It has too many columns.
    """
    table = CsvTable(path, budgets, options)
    detail = Detail.of(len(table.names))
    columns = [CellColumn(name, detail, table.style) for name in table.names]
    rows = each_block(table.blocks(), columns, CellColumn.add)
    if rows == 0:
        raise InvalidInputError("the file has a header but no rows" if options.header else "the file has no rows")
    described, bad = zip(*(column.describe() for column in columns), strict=True)
    likeness = [column.likeness() for column in columns]
    return rows, list(zip(related(rows, described, likeness), bad, strict=True)), table.found
