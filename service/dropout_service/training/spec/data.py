"""``DataSpec``: the data to train on."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from dropout_service.training.spec.arrays import Matrix, Vector
from dropout_service.training.spec.strict import Items, StrictSpec

__all__ = ["ColumnKind", "ColumnSpec", "DataSpec"]


ColumnKind = Literal["number", "boolean", "category", "code", "date", "text"]
"""How a column is read; each has an encoder in ``training.columns``."""


class ColumnSpec(StrictSpec):
    """How a training uses a column, in place of what its schema suggests."""

    kind: ColumnKind | None = Field(
        default=None,
        description="`number`: filled, centred and scaled. `boolean`: -1 and 1. `category`: a column for each frequent "
        "value, one for all others. `code`: a number for each value, which a layer `columns` embeds. `date`: the "
        "moment, and its place in the year, week and day. `text`: hashed words. "
        "Default: what the schema of the dataset suggests.",
    )
    use: bool = Field(default=True, description="Whether it is a feature at all.")


Targets = Annotated[Items[str], Field(min_length=2, max_length=64)]


class DataSpec(StrictSpec):
    """The data to train on: a stored dataset, or arrays given in place."""

    dataset: str | None = Field(
        default=None,
        description="Id of a stored dataset (`POST /datasets`).",
        examples=["sha256-4f2a"],
    )
    target: str | Targets | None = Field(
        default=None,
        description="Name of the target column, or of a regression the names of several. Default: the column `y` of an "
        "npz, the last column of a table.",
        examples=["species", ["height", "weight"]],
    )
    features: Items[str] | None = Field(
        default=None, description="Names of the feature columns. Default: every column but the target."
    )
    columns: Annotated[dict[str, ColumnSpec], Field(max_length=10_000, fail_fast=True)] | None = Field(
        default=None,
        exclude_if=lambda value: value is None,
        description="How columns are used, by their names, where that is to differ from what the schema suggests. In a "
        "job: how every column is used that is not simply a number.",
        examples=[{"zip": {"kind": "category"}, "id": {"use": False}}],
    )
    weight: str | None = Field(
        default=None,
        exclude_if=lambda value: value is None,
        description="Name of a column of numbers, 0 or more, which the loss of each row is weighted with: no feature.",
    )
    x: Matrix | None = Field(
        default=None, description="Features in place, shape (rows, features). Large arrays belong in a dataset."
    )
    y: Vector | None = Field(
        default=None, description="Targets in place, shape (rows,): numbers, or class labels as numbers or text."
    )

    def kind_of(self, name: str, *, default: ColumnKind) -> ColumnKind:
        """Return how a column is used: as is said, or by default."""
        chosen = (self.columns or {}).get(name)
        return default if chosen is None or chosen.kind is None else chosen.kind

    @model_validator(mode="after")
    def _one_source(self) -> DataSpec:
        inline = self.x is not None or self.y is not None
        if inline and self.dataset is not None:
            raise ValueError("give either `dataset` or `x` and `y`, not both")
        if not inline and self.dataset is None:
            raise ValueError("give the id of a stored `dataset`, or `x` and `y`")
        if inline and (self.x is None or self.y is None):
            raise ValueError("arrays in place need both `x` and `y`")
        of_columns = (self.target, self.features, self.columns, self.weight)
        if inline and any(one is not None for one in of_columns):
            raise ValueError(
                "`target`, `features`, `columns` and `weight` name columns of a dataset; leave them out beside `x` and "
                "`y`"
            )
        return self
