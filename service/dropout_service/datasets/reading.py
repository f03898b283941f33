"""Columns of a stored file as raw values: features, and what is to be predicted."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dropout_service.datasets.arrays import open_npy, read_npz
from dropout_service.datasets.cell_arrays import text_array
from dropout_service.datasets.cells import CellStyle
from dropout_service.datasets.columnar.table import ColumnarTable
from dropout_service.datasets.columnar.values import STYLE
from dropout_service.datasets.csv_text.table import CsvTable
from dropout_service.datasets.dataset import COLUMNAR
from dropout_service.datasets.features import RawFeature

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from dropout_service.datasets.choice import Choice
    from dropout_service.datasets.dataset import Dataset

    _Arrays = tuple[NDArray[np.float64], NDArray[np.float64]]
    """Features (rows, features), and the target: numbers, or indices of its labels."""

__all__ = ["RawRows", "read_columns"]


class RawRows(NamedTuple):
    """Rows of a table.

    Parameters
    ----------
    x
        Features, behind them the targets but the first, behind these the weights: (rows, columns), float64.
    values
        The first target, (rows,), float64: numbers, or indices of its labels; NaN where there is none.
    features, target
        What read them, and knows their labels.
    """

    x: NDArray[np.float64]
    values: NDArray[np.float64]
    features: list[RawFeature]
    target: RawFeature


def read_columns(path: Path, dataset: Dataset, choice: Choice) -> RawRows:
    """Read the columns that a training uses.

    Parameters
    ----------
    path
        The content of the dataset.
    dataset, choice
        What is in it, and what of that is used.

    Raises
    ------
    InvalidInputError
        A cell of a date is none, or the file is damaged.
    """
    style = STYLE if dataset.format in COLUMNAR else CellStyle.of(dataset.schema.options)
    position = {column.name: index for index, column in enumerate(dataset.schema.columns)}
    first, *others = choice.targets
    features = [
        RawFeature(position[column.name], column, kind, style)
        for column, kind in zip(choice.features, choice.kinds, strict=True)
    ] + [RawFeature(position[column.name], column, "number", style) for column in [*others, *choice.weights]]
    target = RawFeature(position[first.name], first, "category" if first.type == "text" else "number", style)
    if dataset.format == "npy":
        return RawRows(*_columns_of(open_npy(path), features, target), features, target)
    if dataset.format == "npz":
        return RawRows(*_read_npz(path, features, target), features, target)
    if dataset.format == "csv":
        options = dataset.schema.options
        table = CsvTable(path, options=replace(options, encoding=options.encoding or "utf-8"))
    else:
        table = ColumnarTable(path, dataset.format)
    return RawRows(*_read_table(table, dataset.schema.rows, features, target), features, target)


def _read_table(
    table: CsvTable | ColumnarTable, rows: int, features: Sequence[RawFeature], target: RawFeature
) -> _Arrays:
    x, y = np.empty((rows, len(features))), np.empty(rows)
    for first_row, block in table.blocks([*(feature.index for feature in features), target.index]):
        span = slice(first_row - 1, first_row - 1 + len(block[0]))
        for place, (feature, cells) in enumerate(zip(features, block, strict=False)):
            x[span, place] = feature.of_values(cells, first_row)
        y[span] = target.of_values(block[-1], first_row)
    return x, y


def _read_npz(path: Path, features: Sequence[RawFeature], target: RawFeature) -> _Arrays:
    content = read_npz(path)
    width = content.x.shape[1]
    is_text = content.y.dtype.kind == "U"
    if any(feature.index == width for feature in features):  # `y` as a feature of something else
        y = np.zeros(len(content.y)) if is_text else content.y
        x, values = _columns_of(np.column_stack([content.x, y]), features, target)
        if is_text:
            position = next(i for i, feature in enumerate(features) if feature.index == width)
            x[:, position] = features[position].of_cells(text_array(content.y.tolist()), 1)
        return x, values
    if target.index < width:
        return _columns_of(content.x, features, target)
    x = _features_of(content.x, features)
    return x, target.of_cells(text_array(content.y.tolist()), 1) if is_text else content.y.astype(np.float64)


def _columns_of(array: NDArray[np.generic], features: Sequence[RawFeature], target: RawFeature) -> _Arrays:
    return _features_of(array, features), array[:, target.index].astype(np.float64)


def _features_of(array: NDArray[np.generic], features: Sequence[RawFeature]) -> NDArray[np.float64]:
    x = np.ascontiguousarray(array[:, [feature.index for feature in features]], np.float64)
    for position, feature in enumerate(features):
        x[:, position] = feature.of_numbers(x[:, position])
    return x
