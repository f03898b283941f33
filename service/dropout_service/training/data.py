"""``TrainingData``: the arrays that a training sees, with the names a person gave them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Label", "TrainingData"]

Label = str | int | float | bool
"""What a class is called: the value as it stands in the dataset."""


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Features and targets of equal length, at least one row and one column; no value is infinite.

    Parameters
    ----------
    x
        Features, shape (rows, features), float64, in any order of memory: raw values of ``training.columns.RawColumn``,
        which are NaN where a cell has none.
    y
        Targets, shape (rows,): float64 values of a regression, or int64 class indices. Of several targets the shape is
        (rows, targets).
    feature_names
        One name for each column of ``x``.
    target_name
        Name of the target; of several, all in one text.
    classes
        The labels that the class indices stand for, in sorted order; ``None`` for a regression.
    target_names
        The names of several targets; ``None`` where there is one.
    weights
        Of the rows, float64, shape (rows,), 0 or more and not all 0; ``None``: all count the same.
    labels
        For each feature that is text, by its name, the texts that its values are indices of.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64] | NDArray[np.int64]
    feature_names: tuple[str, ...]
    target_name: str
    classes: tuple[Label, ...] | None
    target_names: tuple[str, ...] | None = None
    weights: NDArray[np.float64] | None = None
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])

    @property
    def texts(self) -> tuple[tuple[str, ...], ...]:
        """For each feature its labels; empty where it is none of text."""
        return tuple(self.labels.get(name, ()) for name in self.feature_names)
