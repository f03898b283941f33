"""What a typed column of Arrow is here: numbers, cells of text, or nothing that a training reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dropout_service.datasets.arrow import pa, pc
from dropout_service.datasets.cells import CellStyle

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from dropout_service.datasets.arrow import Cells

    Values = NDArray[np.float64]

__all__ = ["STYLE", "is_usable", "values_of"]

STYLE: Final = CellStyle(missing=frozenset({""}), numeric=False)
"""How cells of text are written: a gap is null in these files, and `NA` is a text."""


def is_usable(kind: Any) -> bool:
    """Whether a training can read columns of a type."""
    return _conversion(kind) is not None


def values_of(column: Cells) -> Values | Cells:
    """Take a column as float64 numbers, NaN for null, or as cells of text: dates, truth values and texts.

    Parameters
    ----------
    column
        An Arrow array of a type that is usable.
    """
    convert = _conversion(column.type)
    if convert is None:
        raise TypeError(f"{column.type} is not usable")
    return convert(column)


def _conversion(kind: Any) -> Callable[[Cells], Values | Cells] | None:
    types = pa.types
    if types.is_dictionary(kind):
        inner = _conversion(kind.value_type)
        return None if inner is None else lambda column: inner(pc.cast(column, kind.value_type))
    if isinstance(kind, pa.BaseExtensionType):
        inner = _conversion(kind.storage_type)
        return None if inner is None else lambda column: inner(column.storage)
    for known, convert in (
        (types.is_boolean, _text),
        (types.is_integer, _numbers),
        (types.is_floating, _numbers),
        (types.is_decimal, _numbers),
        (types.is_string, _text),
        (types.is_large_string, _text),
        (types.is_string_view, _text),
        (types.is_date, _text),
        (types.is_timestamp, _moments),
        (types.is_null, _text),
    ):
        if known(kind):
            return convert
    return None


def _numbers(column: Cells) -> Values:
    # Whole numbers beyond 2^53 are rounded, as those of CSV are.
    values = pc.cast(column, pa.float64(), safe=False)
    return (pc.fill_null(values, np.nan) if values.null_count else values).to_numpy(zero_copy_only=False)


def _text(column: Cells) -> Cells:
    return pc.cast(column, pa.large_string())


def _moments(column: Cells) -> Cells:
    """Write moments as texts in UTC, to the microsecond."""
    zone = None if column.type.tz is None else "UTC"
    return _text(pc.cast(pc.cast(column, pa.timestamp("us", zone), safe=False), pa.timestamp("us")))
