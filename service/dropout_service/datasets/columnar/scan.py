"""Look through a Parquet or Arrow IPC file once and describe its columns."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dropout_service.datasets.cell_column import CellColumn
from dropout_service.datasets.columnar.table import ColumnarTable
from dropout_service.datasets.columnar.values import STYLE
from dropout_service.datasets.columns import describe
from dropout_service.datasets.likeness import Likeness, related
from dropout_service.datasets.number_column import NumberColumn
from dropout_service.datasets.statistics import Detail
from dropout_service.datasets.workers import each_block
from dropout_service.errors import InvalidInputError

if TYPE_CHECKING:
    from pathlib import Path

    from dropout_service.budgets import Budgets
    from dropout_service.datasets.dataset import BadCell, Column, ColumnarFormat

__all__ = ["scan_columnar"]


def scan_columnar(
    path: Path,
    format: ColumnarFormat,  # noqa: A002 - the field's word
    budgets: Budgets,
) -> tuple[int, list[tuple[Column, list[BadCell]]]]:
    """Describe the columns of a file.

    Returns
    -------
    rows
        How many.
    columns
        Each with its first bad cells.

    Raises
    ------
    InvalidInputError
        It is damaged, has no rows, or no column that a training reads.
    OverBudgetError
        It has too many columns or cells.
    """
    table = ColumnarTable(path, format, budgets)
    detail = Detail.of(len(table.names))
    usable = [place for place, good in enumerate(table.usable) if good]
    if not usable:
        kinds = ", ".join(f"`{name}` is {kind}" for name, kind in list(zip(table.names, table.types, strict=True))[:5])
        raise InvalidInputError(f"no column is one that a training reads: {kinds}")
    scans: dict[int, NumberColumn | CellColumn] = {}

    def add(place: int, first_row: int, values: Any) -> None:
        """Look through a block of a column; what it is of is known from its first."""
        if place not in scans:
            name, are_numbers = table.names[place], isinstance(values, np.ndarray)
            scans[place] = NumberColumn(name, detail) if are_numbers else CellColumn(name, detail, STYLE)
        scans[place].add(first_row, values)

    rows = each_block(table.blocks(usable), usable, add)
    if rows == 0:
        raise InvalidInputError("the file has no rows")
    columns: list[Column] = []
    bad_cells: list[list[BadCell]] = []
    likeness: list[Likeness] = []
    for place, (name, kind) in enumerate(zip(table.names, table.types, strict=True)):
        column, bad = scans[place].describe() if place in scans else (_unread(name), [])
        columns.append(replace(column, stored=kind))
        bad_cells.append(bad)
        likeness.append(scans[place].likeness() if place in scans else Likeness(b"", None))
    return rows, list(zip(related(rows, columns, likeness), bad_cells, strict=True))


def _unread(name: str) -> Column:
    return describe(name, "other", None, Detail(0, 0), missing=0)
