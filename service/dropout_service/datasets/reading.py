"""Columns of a stored file as raw values: features, and what is to be predicted."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dropout_service.datasets.array_table import ArrayTable
from dropout_service.datasets.arrays import open_npy, read_npz
from dropout_service.datasets.cells import CellStyle
from dropout_service.datasets.columnar.table import ColumnarTable
from dropout_service.datasets.columnar.values import STYLE
from dropout_service.datasets.csv_text.table import CsvTable
from dropout_service.datasets.dataset import COLUMNAR
from dropout_service.datasets.features import RawFeature
from dropout_service.scratch import IN_MEMORY

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from dropout_service.datasets.choice import Choice
    from dropout_service.datasets.dataset import Column, Dataset
    from dropout_service.scratch import Scratch
    from dropout_service.training.spec import ColumnKind

__all__ = ["RawRows", "read_columns"]


class RawRows(NamedTuple):
    """Rows of a table whose targets all have a value.

    Parameters
    ----------
    x
        Features, (rows, features), float64, column by column in memory.
    targets
        (rows, targets), float64: numbers, or indices of the labels of the first.
    weights
        (rows,), float64; ``None`` where there are none.
    features, target
        What read the features and the first target, and knows their labels.
    """

    x: NDArray[np.float64]
    targets: NDArray[np.float64]
    weights: NDArray[np.float64] | None
    features: list[RawFeature]
    target: RawFeature


def read_columns(path: Path, dataset: Dataset, choice: Choice, scratch: Scratch = IN_MEMORY) -> RawRows:
    """Read the columns that a training uses, a block of rows at a time.

    Parameters
    ----------
    path
        The content of the dataset.
    dataset, choice
        What is in it, and what of that is used.
    scratch
        Makes the arrays.

    Raises
    ------
    InvalidInputError
        A cell of a date is none, or the file is damaged.
    StorageFullError
        There is no room for the arrays on the disk.
    """
    style = STYLE if dataset.format in COLUMNAR else CellStyle.of(dataset.schema.options)
    position = {column.name: index for index, column in enumerate(dataset.schema.columns)}
    first, *others = choice.targets

    def read_as(column: Column, kind: ColumnKind) -> RawFeature:
        return RawFeature(position[column.name], column, kind, style)

    features = [read_as(column, kind) for column, kind in zip(choice.features, choice.kinds, strict=True)]
    targets = [read_as(first, "category" if first.type == "text" else "number")]
    targets += [read_as(column, "number") for column in others]
    weights = [read_as(column, "number") for column in choice.weights]
    columns = [*features, *targets, *weights]
    table = _open(path, dataset, scratch)
    if isinstance(table, ArrayTable):
        _learn_labels(table, features)

    # Column by column, because encoders are fitted to one at a time
    x = scratch.empty((dataset.schema.rows, len(features)), np.float64, order="F")
    rest = scratch.empty((dataset.schema.rows, len(targets) + len(weights)), np.float64, order="F")
    rows = 0
    for first_row, block in table.blocks([column.index for column in columns]):
        values = [column.of_values(cells, first_row) for column, cells in zip(columns, block, strict=True)]
        there = ~np.logical_or.reduce([np.isnan(one) for one in values[len(features) :][: len(targets)]])
        span = slice(rows, rows + int(np.count_nonzero(there)))
        whole = there.all()
        for place, one in enumerate(values):
            into = x[:, place] if place < len(features) else rest[:, place - len(features)]
            into[span] = one if whole else one[there]
        rows = span.stop
    return RawRows(x[:rows], rest[:rows, : len(targets)], rest[:rows, -1] if weights else None, features, targets[0])


def _open(path: Path, dataset: Dataset, scratch: Scratch) -> CsvTable | ColumnarTable | ArrayTable:
    if dataset.format == "npy":
        return ArrayTable(open_npy(path))
    if dataset.format == "npz":
        content = read_npz(path, scratch=scratch)
        return ArrayTable(content.x, content.y)
    if dataset.format == "csv":
        options = dataset.schema.options
        return CsvTable(path, options=replace(options, encoding=options.encoding or "utf-8"))
    return ColumnarTable(path, dataset.format)


def _learn_labels(table: ArrayTable, features: Sequence[RawFeature]) -> None:
    """Let features that are categories see all numbers of an array at once: their labels are in rising order."""
    for feature in features:
        values = table.numbers(feature.index) if feature.has_labels else None
        if values is not None:
            feature.of_numbers(values)
