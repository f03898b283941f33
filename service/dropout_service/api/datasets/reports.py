"""What is told of a dataset: its columns, and what a training does with them."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, ConfigDict, Field

from dropout_service.datasets.dataset import ColumnType, DatasetFormat, Encoding
from dropout_service.datasets.decisions import decide
from dropout_service.training.spec import ColumnKind

if TYPE_CHECKING:
    from dropout_service.datasets.dataset import Dataset

__all__ = ["DatasetReport"]


class _Report(BaseModel):
    model_config = ConfigDict(from_attributes=True, frozen=True)


class ClassCountReport(_Report):
    """How often a value occurs."""

    label: str | int | float | bool
    count: int


class BadCellReport(_Report):
    """A cell that does not fit the type of its column."""

    row: int = Field(description="Number of the row, from 1; the header is not counted.")
    column: str
    value: str = Field(description="What the cell holds, shortened if it is long.")
    message: str = Field(description="What is wrong with it.")


class DecisionReport(_Report):
    """What a training does with a column unless `data.columns` or `data.features` say otherwise."""

    use: bool = Field(description="Whether it is a feature.")
    kind: ColumnKind = Field(description="As what.")
    reason: str = Field(description="Why.", examples=["category: 3 distinct texts"])
    warning: str | None = Field(
        default=None, description="What to look at before it is used: the column gives the target away. Null otherwise."
    )


class ColumnReport(_Report):
    """One column."""

    name: str
    type: ColumnType | str = Field(
        description="The type of at least nine in ten of its values. `integer`: every number is whole; `empty`: no "
        "cell has a value; `other`: what no training reads, such as lists."
    )
    missing: int = Field(description="Cells without a value: empty, NA, N/A, NaN or null.")
    bad: int = Field(description="Cells that do not fit the type: text among numbers, infinities.")
    distinct: int = Field(description="Number of distinct values; a lower bound when `distinct_exact` is false.")
    distinct_exact: bool = Field(
        description="False above 10,000 distinct values (fewer in a wide table), where counting stops."
    )
    min: float | None
    max: float | None
    mean: float | None
    std: float | None = Field(description="Population standard deviation (ddof 0) of the finite numbers.")
    classes: list[ClassCountReport] | None = Field(
        description="Every value with its count, in sorted order, when there are at most 100 (fewer in a wide table)."
    )
    constant: bool = Field(description="Whether all values are equal, so that nothing can be learned from the column.")
    date: bool = Field(description="Whether each value of a column of text is a date or time of ISO 8601.")
    stored: str | None = Field(
        default=None, description="The type that a column of a Parquet or Arrow file has there. Null otherwise."
    )
    same_as: str | None = Field(
        default=None, description="The first column with the same values in all rows, if it is an earlier one."
    )
    one_to_one: str | None = Field(
        default=None, description="The first column whose values go one to one with these, if it is an earlier one."
    )
    training: DecisionReport | None = Field(
        default=None, description="What a training does with it by default; null for the default target."
    )


class CsvOptionsReport(_Report):
    """How a csv file is read."""

    header: bool = Field(description="Whether its first row has the names of the columns.")
    missing: list[str] = Field(description="Cells that stand for no value, beside those that always do.")
    encoding: Encoding | str | None = Field(
        description="Of its text, said or found; `cp1252` is found where a file is not UTF-8. Null: UTF-8."
    )
    delimiter: str | None = Field(description="What is between cells. Null: comma, semicolon or tab, as it looks.")
    decimal: str = Field(description="The point of its numbers.")
    thousands: str | None = Field(description="What groups the digits of its numbers.")
    comment: str | None = Field(description="What its lines begin with that are none of the table.")


class TableReport(_Report):
    """What is in a dataset."""

    rows: int = Field(description="Number of rows, without the header.")
    columns: list[ColumnReport] = Field(description="The columns in their order; of an npz those of `x`, then `y`.")
    target: str = Field(description="The column that a training predicts unless its specification names another.")
    bad_cells: list[BadCellReport] = Field(description="The first 5 bad cells of a column, at most 50 in all.")
    options: CsvOptionsReport = Field(
        description="How a csv file is read: what was said when it was uploaded, or found."
    )


class DatasetReport(_Report):
    """A stored dataset, with what was found in it."""

    id: str = Field(
        description="`sha256-` and the first 32 digits of the content's digest: the same content has the same id.",
        examples=["sha256-3560fc1e62ef070c73f537e1441efc16"],
    )
    name: str = Field(description="A name for people: the one given first, or the id.")
    format: DatasetFormat | str = Field(description="How the content is written.")
    size_bytes: int
    created_at: datetime = Field(description="When it was stored (UTC).")
    digest: str = Field(description="`sha256:` and all digits of the SHA-256 of the content.")
    table: TableReport = Field(alias="schema", description="Rows, columns, types, missing values and classes.")
    unreadable: str | None = Field(
        default=None, description="Why the stored schema cannot be read, which has no columns then. Null otherwise."
    )

    @classmethod
    def of(cls, dataset: Dataset) -> Self:
        """Tell of a dataset, and what a training does with its columns."""
        report = cls.model_validate(dataset)
        schema = dataset.schema
        columns = [
            told
            if column.name == schema.target
            else told.model_copy(
                update={"training": DecisionReport.model_validate(decide(column, schema, dataset.format))}
            )
            for told, column in zip(report.table.columns, schema.columns, strict=True)
        ]
        return report.model_copy(update={"table": report.table.model_copy(update={"columns": columns})})
