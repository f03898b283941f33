"""``FeatureTable``: a table of which only the features of a model are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dropout_service.datasets.columnar.table import ColumnarTable
from dropout_service.datasets.columnar.values import STYLE
from dropout_service.datasets.csv_text.table import CsvTable
from dropout_service.datasets.rows.feature import FeatureReader
from dropout_service.errors import Excess, InvalidInputError, OverBudgetError, UnavailableError
from dropout_service.training.columns.names import missing_column

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from dropout_service.budgets import Budgets
    from dropout_service.datasets.dataset import ColumnarFormat
    from dropout_service.datasets.rows.feature import Feature

__all__ = ["FeatureTable", "write_rows"]


class FeatureTable:
    """The features of a model in a table that may have more columns, in any order.

    Parameters
    ----------
    table
        The table.
    features
        What is taken from it, in the order in which the model has them.

    Raises
    ------
    InvalidInputError
        A feature is missing, or has a type that is not read.
    """

    def __init__(self, table: CsvTable | ColumnarTable, features: Sequence[Feature]) -> None:
        self._table = table
        position = {name: place for place, name in enumerate(table.names)}
        for feature in features:
            if feature.name not in position:
                raise InvalidInputError(missing_column(feature.name, table.names))
        self._places = [position[feature.name] for feature in features]
        if isinstance(table, ColumnarTable):
            _check_types(table, self._places)
        style = table.style if isinstance(table, CsvTable) else STYLE
        self._readers = [FeatureReader(feature, style) for feature in features]

    @property
    def texts(self) -> tuple[tuple[str, ...], ...]:
        """For each feature the texts that its values are indices of; empty where it is none of text."""
        return tuple(reader.labels for reader in self._readers)

    @property
    def chars(self) -> int:
        """Characters of these texts."""
        return sum(reader.chars for reader in self._readers)

    def blocks(self) -> Iterator[NDArray[np.float64]]:
        """Read the rows, shape (rows, features).

        Raises
        ------
        InvalidInputError
            The file is damaged, or a value is not what its column has.
        """
        for first_row, block in self._table.blocks(self._places):
            values = zip(self._readers, block, strict=True)
            yield np.column_stack([reader.read(part, first_row) for reader, part in values])


def write_rows(
    path: Path,
    format: ColumnarFormat,  # noqa: A002 - the field's word
    features: Sequence[Feature],
    budgets: Budgets,
    *,
    into: Path,
    max_chars: int,
) -> tuple[tuple[str, ...], ...]:
    """Read the features of a Parquet or Arrow IPC file, and write their values row by row as float64.

    Parameters
    ----------
    path, format
        The file.
    features
        What is taken from it.
    budgets
        Bounds of its columns, and of its cells.
    into
        Where the values go.
    max_chars
        Bound of the characters of distinct texts, as many as the body of a request may have bytes.

    Returns
    -------
    texts
        As ``FeatureTable.texts``.

    Raises
    ------
    InvalidInputError
        It is damaged or has no rows, a feature is missing, or a value is not what its column has.
    OverBudgetError
        It has too many columns, cells or texts.
    StorageFullError
        The disk has no room for the values.
    """
    table = FeatureTable(ColumnarTable(path, format, budgets, bound="prediction_cells"), features)
    try:
        with into.open("wb") as file:
            for block in table.blocks():
                _check_chars(table.chars, max_chars)
                file.write(block.data)
            if not file.tell():
                raise InvalidInputError("the file has no rows")
    except OSError as error:
        raise UnavailableError.of_disk("cannot write rows to predict", error) from error
    return table.texts


def _check_chars(chars: int, allowed: int) -> None:
    if chars > allowed:
        excess = Excess("DROPOUT_SERVICE_MAX_BODY_BYTES", allowed, chars)
        told = f"the texts of the file unpack to more than {allowed:,} characters ({excess.setting})"
        raise OverBudgetError(f"{told}; send fewer rows at a time", excess)


def _check_types(table: ColumnarTable, places: Sequence[int]) -> None:
    for place in places:
        if not table.usable[place]:
            told = f"column `{table.names[place]}` is {table.types[place]}, which no model takes"
            raise InvalidInputError(f"{told}; send numbers, truth values, texts, dates or times")
