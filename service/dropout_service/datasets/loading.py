"""From a stored dataset and a ``TrainingSpec`` to the arrays of a training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dropout_service.datasets.choice import choose
from dropout_service.datasets.dataset import FORMATS
from dropout_service.errors import InvalidInputError
from dropout_service.scratch import IN_MEMORY
from dropout_service.training.check import check_size, check_spec
from dropout_service.training.data import TrainingData
from dropout_service.training.networks import build_loss, output_units, resolve_loss
from dropout_service.training.target_transform import find_fault

if TYPE_CHECKING:
    from dropout_service.blobs import BlobStore
    from dropout_service.budgets import Budgets
    from dropout_service.datasets.dataset import Dataset, TableSchema
    from dropout_service.scratch import Scratch
    from dropout_service.training.spec import TrainingSpec


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
        task, the loss or the target transform, too few rows, and what ``check_spec`` finds.
    OverBudgetError
        The network is too large.
    """
    choice = choose(schema, spec)
    check_spec(spec, choice.cardinalities)
    classes = choice.targets[0].distinct if spec.task == "classification" else None
    outputs = output_units(build_loss(spec, resolve_loss(spec, classes), len(choice.targets)), classes)
    check_size(spec, inputs=choice.cardinalities, outputs=outputs, rows=schema.rows, budgets=budgets)
    for column in choice.targets:
        for value in (column.min, column.max):
            fault = None if value is None else find_fault(spec.target_transform, column.name, value)
            if fault is not None:
                raise InvalidInputError.at("/target_transform", fault)


def load_training_data(
    dataset: Dataset, blobs: BlobStore, spec: TrainingSpec, scratch: Scratch = IN_MEMORY
) -> TrainingData:
    """Read the columns that the spec chooses, of the rows whose target has a value.

    Parameters
    ----------
    dataset, blobs
        What to read, and where its content is.
    spec
        As ``resolve`` returned it; a feature of which its `columns` say nothing is a number.
    scratch
        Makes the arrays.

    Raises
    ------
    InvalidInputError
        As ``check``; or a cell of a date that is none.
    NotFoundError
        The content of the dataset has been deleted.
    StorageFullError
        There is no room for the arrays on the disk.
    """
    check_readable(dataset)
    choice = choose(dataset.schema, spec)
    # PyArrow takes a third of a second and 40 MB, which whoever only checks need not pay.
    from dropout_service.datasets.reading import read_columns  # noqa: PLC0415 - as said

    with blobs.as_file(dataset.blob_key) as path:
        raw = read_columns(path, dataset, choice, scratch)
    first = raw.targets[:, 0]
    if spec.task == "classification":
        codes = scratch.empty(len(first), np.int64)
        y, classes = codes, raw.target.classes(first, out=codes)
    else:
        y, classes = (first if len(choice.targets) == 1 else raw.targets), None
    names = tuple(column.name for column in choice.targets)
    return TrainingData(
        x=raw.x,
        y=y,
        feature_names=tuple(column.name for column in choice.features),
        target_name=", ".join(names),
        classes=classes,
        labels={feature.column.name: feature.labels for feature in raw.features if feature.has_labels},
        target_names=names if len(names) > 1 else None,
        weights=raw.weights,
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
