"""From a stored dataset and a ``TrainingSpec`` to the arrays of a training."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from dropout_service.datasets.arrays import open_npy, read_npz
from dropout_service.datasets.cell_arrays import text_array
from dropout_service.datasets.cells import CellStyle
from dropout_service.datasets.choice import choose
from dropout_service.datasets.csv_text.table import CsvTable
from dropout_service.datasets.dataset import FORMATS
from dropout_service.datasets.features import RawFeature
from dropout_service.errors import InvalidInputError
from dropout_service.training.check import check_size, check_spec
from dropout_service.training.data import Label, TrainingData
from dropout_service.training.networks import build_loss, output_units, resolve_loss

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from dropout_service.blobs import BlobStore
    from dropout_service.budgets import Budgets
    from dropout_service.datasets.dataset import Dataset, TableSchema
    from dropout_service.training.spec import TrainingSpec

    _Arrays = tuple[NDArray[np.float64], NDArray[np.float64]]
    """Features (rows, features), and the target: numbers, or indices of its labels."""

__all__ = ["check", "check_readable", "load_training_data"]


def check(schema: TableSchema, spec: TrainingSpec, budgets: Budgets) -> None:
    """Check that a training can use a table as its spec says, before the one is stored and the other begun.

    Parameters
    ----------
    schema
        What is in the table.
    spec
        The training, as ``resolve`` returned it.
    budgets
        Bounds of its network.

    Raises
    ------
    InvalidInputError
        With pointers into the spec: a column that is not there or cannot be used, a target that does not fit the
        task or the loss, too few rows, and what ``check_spec`` finds.
    OverBudgetError
        The network is too large.
    """
    choice = choose(schema, spec)
    check_spec(spec, choice.width)
    classes = choice.targets[0].distinct if spec.task == "classification" else None
    outputs = output_units(build_loss(spec, resolve_loss(spec, classes), len(choice.targets)), classes)
    check_size(spec, inputs=choice.width, outputs=outputs, rows=schema.rows, budgets=budgets)


def load_training_data(dataset: Dataset, blobs: BlobStore, spec: TrainingSpec) -> TrainingData:
    """Read the columns that the spec chooses, of the rows whose target has a value.

    Parameters
    ----------
    dataset, blobs
        What to read, and where its content is.
    spec
        As ``resolve`` returned it; a feature of which its `columns` say nothing is a number.

    Raises
    ------
    InvalidInputError
        As ``check``; or a cell of a date that is none.
    NotFoundError
        The content of the dataset has been deleted.
    """
    check_readable(dataset)
    choice = choose(dataset.schema, spec)
    style = CellStyle.of(dataset.schema.options)
    position = {column.name: index for index, column in enumerate(dataset.schema.columns)}
    first, *others = choice.targets
    beside = [*others, *choice.weights]  # read as features, behind these
    features = [
        RawFeature(position[column.name], column, kind, style)
        for column, kind in zip(choice.features, choice.kinds, strict=True)
    ] + [RawFeature(position[column.name], column, "number", style) for column in beside]
    target = RawFeature(position[first.name], first, "category" if first.type == "text" else "number", style)
    with blobs.as_file(dataset.blob_key) as path:
        if dataset.format == "csv":
            x, values = _read_csv(path, dataset, features, target)
        elif dataset.format == "npy":
            x, values = _columns_of(open_npy(path), features, target)
        else:
            x, values = _read_npz(path, features, target)
    if any(column.missing for column in choice.targets):
        targets = slice(len(choice.features), len(choice.features) + len(others))
        there = ~np.isnan(values) & ~np.isnan(x[:, targets]).any(axis=1)
        x, values = x[there], values[there]
    if spec.task == "regression":
        y, classes = values, None
        if others:
            y = np.column_stack([y, x[:, len(choice.features) : len(choice.features) + len(others)]])
    else:
        y, classes = _encoded(values, target)
    weights = x[:, -1].copy() if choice.weights else None
    if x.shape[1] > len(choice.features):
        x = np.ascontiguousarray(x[:, : len(choice.features)])
    names = tuple(column.name for column in choice.targets)
    return TrainingData(
        x=x,
        y=y,
        feature_names=tuple(column.name for column in choice.features),
        target_name=", ".join(names),
        classes=classes,
        labels={feature.column.name: feature.labels for feature in features if feature.has_labels},
        target_names=names if others else None,
        weights=weights,
    )


def check_readable(dataset: Dataset) -> None:
    """Check that this version of the service can read a dataset that is stored.

    Raises
    ------
    InvalidInputError
        Its schema is damaged, or its format is one of a later version.
    """
    if dataset.unreadable is not None:
        raise InvalidInputError.at("/data/dataset", dataset.unreadable)
    if dataset.format not in FORMATS:
        raise InvalidInputError.at(
            "/data/dataset",
            f"the dataset is stored as {dataset.format}, which a later version of the service reads; this one reads "
            f"{', '.join(FORMATS)}",
        )


def _read_csv(path: Path, dataset: Dataset, features: Sequence[RawFeature], target: RawFeature) -> _Arrays:
    rows = dataset.schema.rows
    x, y = np.empty((rows, len(features))), np.empty(rows)
    options = dataset.schema.options
    table = CsvTable(path, options=replace(options, encoding=options.encoding or "utf-8"))
    for first_row, block in table.blocks([*(feature.index for feature in features), target.index]):
        span = slice(first_row - 1, first_row - 1 + len(block[0]))
        for place, (feature, cells) in enumerate(zip(features, block, strict=False)):
            x[span, place] = feature.of_cells(cells, first_row)
        y[span] = target.of_cells(block[-1], first_row)
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


def _encoded(values: NDArray[np.float64], target: RawFeature) -> tuple[NDArray[np.int64], tuple[Label, ...]]:
    """Replace labels by their indices in sorted order; a label keeps the type that it has in the dataset."""
    if target.has_labels:
        order = sorted(range(len(target.labels)), key=target.labels.__getitem__)
        places = np.empty(len(order), np.int64)
        places[order] = np.arange(len(order))
        return places[values.astype(np.intp)], tuple(target.labels[place] for place in order)
    distinct, indices = np.unique(values, return_inverse=True)
    kind = {"boolean": bool, "integer": int}.get(target.column.type, float)
    return indices.astype(np.int64), tuple(kind(value) for value in distinct.tolist())
