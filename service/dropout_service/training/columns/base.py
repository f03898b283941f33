"""What an encoder of a column is."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    Values = NDArray[np.float64]

__all__ = ["ColumnEncoder", "RawColumn"]


class RawColumn(NamedTuple):
    """A column as it stands in a table.

    Parameters
    ----------
    values
        float64, shape (rows,), NaN where a cell has no value: numbers as they are; for texts the index of the text
        among ``labels``; for dates the seconds since 1970 (UTC).
    labels
        The texts; empty for numbers and dates.
    """

    values: Values
    labels: Sequence[str] = ()


class ColumnEncoder(abc.ABC):
    """Turns one column into columns that a network reads; fitted on training rows, kept in the model."""

    kind: ClassVar[str]
    """How a specification names it."""

    @property
    @abc.abstractmethod
    def cardinalities(self) -> tuple[int, ...]:
        """What each column that it gives is: 0 a number, 1 a flag that is passed on as it is, more: how many codes.

        A layer ``columns`` tells them apart by it.
        """

    @property
    def width(self) -> int:
        """Columns that it gives."""
        return len(self.cardinalities)

    @classmethod
    @abc.abstractmethod
    def fit(cls, raw: RawColumn) -> Self:
        """Fit an encoder to the training rows of a column."""

    @abc.abstractmethod
    def encode(self, raw: RawColumn) -> Values:
        """Return the columns, shape (rows, width), of any rows; gaps and texts that no training row had are as good."""

    @abc.abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Return what was fitted as JSON values; every float survives exactly."""

    @classmethod
    @abc.abstractmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        """Read what ``to_json`` of this or an earlier version wrote.

        Raises
        ------
        ValueError
            It is not what an encoder of this kind has.
        """
