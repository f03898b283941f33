"""Rows to predict as a table: CSV, Parquet or Arrow IPC, read as a dataset is."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dropout_service.datasets.csv_text.table import CsvTable
from dropout_service.datasets.rows.feature import Feature
from dropout_service.datasets.rows.table import FeatureTable
from dropout_service.errors import InvalidInputError
from dropout_service.models.rows import Rows

if TYPE_CHECKING:
    from dropout_service.api.state import Limits
    from dropout_service.budgets import Budgets
    from dropout_service.datasets.dataset import ColumnarFormat
    from dropout_service.datasets.reader import Reader
    from dropout_service.training.trained import TrainedModel

__all__ = ["rows_of_columnar", "rows_of_csv"]


def rows_of_csv(model: TrainedModel, content: bytes | memoryview, budgets: Budgets) -> Rows:
    """Take the features by their names from a CSV file with a header; other columns are left aside.

    Parameters
    ----------
    model
        What is to predict.
    content
        The file.
    budgets
        Bound of its columns.

    Raises
    ------
    InvalidInputError
        It cannot be read as a dataset could, a feature is missing, or a cell is not what its column has.
    OverBudgetError
        It has too many columns.
    """
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        table = FeatureTable(CsvTable(Path(file.name), budgets), _features(model))
        parts = list(table.blocks())
    if not parts:
        raise InvalidInputError("the csv has a header but no rows")
    return Rows(np.vstack(parts), table.texts)


def rows_of_columnar(
    model: TrainedModel,
    content: bytes | memoryview,
    format: ColumnarFormat,  # noqa: A002 - the field's word
    reader: Reader,
    limits: Limits,
) -> Rows:
    """Take the features by their names from a Parquet or Arrow IPC file; other columns are left aside.

    Parameters
    ----------
    model
        What is to predict.
    content, format
        The file.
    reader
        Reads it in a process of its own.
    limits
        Bounds of its columns, cells and texts.

    Raises
    ------
    InvalidInputError
        It cannot be read as a dataset could, a feature is missing, or a value is not what its column has.
    OverBudgetError
        It has too many columns, cells or texts.
    """
    return Rows(*reader.rows(content, format, _features(model), limits.budgets, max_chars=limits.max_body_bytes))


def _features(model: TrainedModel) -> list[Feature]:
    return [
        Feature(name, encoder.kind, tuple(getattr(encoder, "labels", ())))
        for name, encoder in zip(model.feature_names, model.encoders.columns, strict=True)
    ]
