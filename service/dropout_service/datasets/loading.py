"""From a stored dataset and a ``TrainingSpec`` to the arrays of a training."""

from __future__ import annotations

from itertools import compress
from typing import TYPE_CHECKING

import numpy as np

from dropout_service.datasets.arrays import open_npy, read_npz
from dropout_service.datasets.cells import is_missing, missing_marks
from dropout_service.datasets.choice import choose
from dropout_service.datasets.csv_table import CsvTable
from dropout_service.datasets.dataset import FORMATS
from dropout_service.datasets.features import RawFeature, numbers_of
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
    from dropout_service.datasets.dataset import Column, Dataset, TableSchema
    from dropout_service.training.spec import TrainingSpec

    _Arrays = tuple[NDArray[np.float64], NDArray[np.float64] | list[str]]
    """Features (rows, features), and the target: numbers, or labels that are text."""

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
    marks = missing_marks(dataset.schema.options.missing)
    position = {column.name: index for index, column in enumerate(dataset.schema.columns)}
    first, *others = choice.targets
    beside = [*others, *choice.weights]  # read as features, behind these
    features = [
        RawFeature(position[column.name], column, kind, marks)
        for column, kind in zip(choice.features, choice.kinds, strict=True)
    ] + [RawFeature(position[column.name], column, "number", marks) for column in beside]
    target = position[first.name]
    with blobs.as_file(dataset.blob_key) as path:
        if dataset.format == "csv":
            x, values = _read_csv(path, dataset, features, target)
        elif dataset.format == "npy":
            x, values = _columns_of(open_npy(path), features, target)
        else:
            x, values = _read_npz(path, features, target)
    if any(column.missing for column in choice.targets):
        first_there = [not is_missing(one, marks) for one in values] if isinstance(values, list) else ~np.isnan(values)
        targets = slice(len(choice.features), len(choice.features) + len(others))
        there = np.asarray(first_there) & ~np.isnan(x[:, targets]).any(axis=1)
        x = x[there]
        values = list(compress(values, there)) if isinstance(values, list) else values[there]
    if spec.task == "regression":
        y, classes = np.asarray(values, np.float64), None
        if others:
            y = np.column_stack([y, x[:, len(choice.features) : len(choice.features) + len(others)]])
    else:
        y, classes = _encoded(values, first)
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


def _read_csv(path: Path, dataset: Dataset, features: Sequence[RawFeature], target: int) -> _Arrays:
    columns, rows = dataset.schema.columns, dataset.schema.rows
    x = np.empty((rows, len(features)))
    is_text = columns[target].type == "text"
    labels: list[str] = []
    y = np.empty(0 if is_text else rows)
    table = CsvTable(path, options=dataset.schema.options)
    for first_row, block in table.blocks():
        start, stop = first_row - 1, first_row - 1 + len(block[0])
        for position, feature in enumerate(features):
            x[start:stop, position] = feature.of_cells(block[feature.index], first_row)
        if is_text:
            labels += [cell.strip() for cell in block[target]]
        else:
            y[start:stop] = numbers_of(block[target], columns[target], table.missing)
    return x, labels if is_text else y


def _read_npz(path: Path, features: Sequence[RawFeature], target: int) -> _Arrays:
    content = read_npz(path)
    width = content.x.shape[1]
    if any(feature.index == width for feature in features):  # `y` as a feature of something else
        y = content.y if content.y.dtype.kind != "U" else np.zeros(len(content.y))
        x, values = _columns_of(np.column_stack([content.x, y]), features, target)
        if content.y.dtype.kind == "U":
            position = next(i for i, feature in enumerate(features) if feature.index == width)
            x[:, position] = features[position].of_cells(content.y.tolist(), 1)
        return x, values
    if target < width:
        return _columns_of(content.x, features, target)
    x = _features_of(content.x, features)
    if content.y.dtype.kind == "U":
        return x, [label.strip() for label in content.y.tolist()]
    return x, content.y.astype(np.float64)


def _columns_of(array: NDArray[np.generic], features: Sequence[RawFeature], target: int) -> _Arrays:
    return _features_of(array, features), array[:, target].astype(np.float64)


def _features_of(array: NDArray[np.generic], features: Sequence[RawFeature]) -> NDArray[np.float64]:
    x = np.ascontiguousarray(array[:, [feature.index for feature in features]], np.float64)
    for position, feature in enumerate(features):
        x[:, position] = feature.of_numbers(x[:, position])
    return x


def _encoded(values: NDArray[np.float64] | list[str], column: Column) -> tuple[NDArray[np.int64], tuple[Label, ...]]:
    """Replace labels by their indices in sorted order; a label keeps the type that it has in the dataset."""
    if isinstance(values, list):
        labels = sorted(set(values))
        index = {label: position for position, label in enumerate(labels)}
        return np.fromiter(map(index.__getitem__, values), np.int64, len(values)), tuple(labels)
    distinct, indices = np.unique(values, return_inverse=True)
    kind = {"boolean": bool, "integer": int}.get(column.type, float)
    return indices.astype(np.int64), tuple(kind(value) for value in distinct.tolist())
