"""The table of a compiled training: what its rows and columns mean, see `program`."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FIELDS", "Field", "Kind", "Row"]


class Kind(IntEnum):
    """What a row of the table computes."""

    DENSE = 0
    """y = dropout(activation(x weight + bias)), with ``RESIDUAL`` x + that."""
    DROPOUT = 1
    """y = dropout(x)."""
    PIECEWISE_LINEAR = 2
    """The bins of each input, and with ``EACH`` units activation(bins weight + bias), each input for itself."""
    SELECT = 3
    """y = chosen columns of the mini-batch."""
    COLUMNS = 4
    """y = the output of the row before, chosen columns of the mini-batch, and for each code in it a row of ``EACH``
    numbers of a table, side by side."""


class Field(IntEnum):
    """Columns of the table. Offsets count elements: of the vectors of parameters and buffers, or of ``work``."""

    KIND = 0
    INPUTS = 1
    UNITS = 2
    WEIGHT = 3
    BIAS = 4
    ACTIVATION = 5
    """A number of ``kernels.training.activations``."""
    DROPOUT = 6
    """Which of the dropouts of a step it is; -1: none."""
    STREAM = 7
    """Offset of its mask stream at step 0."""
    RESIDUAL = 8
    WIDTH = 9
    """Bins of an input."""
    EACH = 10
    """Units of the dense layer of an input; 0: none."""
    BUFFER = 11
    """Where its buffers begin: start, slope, low and high, one after another."""
    VALUE = 12
    """In ``work``: its output."""
    DERIVATIVE = 13
    """In ``work``: the local derivative of its units."""
    INNER = 14
    """In ``work``: the bins, or of a residual layer the branch."""
    LANES = 15
    """Where its draws are kept for the backward pass."""
    LIST = 16
    """Where its columns begin among the ``lists``: of ``COLUMNS`` their number, those passed on, the number of those
    with codes, these, and for each where its part of the table begins, and last where the table ends."""


FIELDS: Final = len(Field)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of the table as a layer knows it; offsets are filled in by who lays the table out.

    Parameters
    ----------
    fields
        Its kind, its sizes and its activation.
    arrays
        Which of the layer's parameters and buffers ``WEIGHT``, ``BIAS`` and ``BUFFER`` are, by name.
    columns
        What stands at ``LIST``.
    """

    fields: Mapping[Field, int]
    arrays: Mapping[Field, str] = field(default_factory=dict[Field, str])
    columns: tuple[int, ...] = ()
