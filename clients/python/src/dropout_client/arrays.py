"""From what people hold (lists, arrays, tables) to NumPy arrays and file bodies. NumPy is loaded here, when needed."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = [
    "ArrayLike",
    "SupportsArray",
    "SupportsArrow",
    "from_npy",
    "is_array",
    "is_table",
    "plain",
    "plain_value",
    "to_array",
    "to_features",
    "to_mask",
    "to_npy",
    "to_npz",
    "to_records",
    "to_table",
    "unpack_bits",
]


@runtime_checkable
class SupportsArray(Protocol):
    """Anything that NumPy can take as it is: arrays, data frames and series, tensors."""

    def __array__(self) -> NDArray[Any]:
        """Give the array."""
        ...


class SupportsArrow(Protocol):
    """Anything that gives its rows as a stream of Arrow: data frames, Arrow tables and readers, results of queries."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Give the stream."""
        ...


ArrayLike = SupportsArray | Sequence[Any] | float
"""An array or array-like object, nested lists, or a number."""


def is_array(value: object) -> bool:
    """Whether this is an array or array-like object (not a list or a number)."""
    return isinstance(value, SupportsArray)


def is_table(value: object) -> bool:
    """Whether this is a data frame (pandas, polars) or an Arrow table: something with named columns."""
    # A series is a stream of Arrow too, and an array.
    is_stream = hasattr(value, "__arrow_c_stream__") and (hasattr(value, "columns") or not is_array(value))
    return is_stream or _writes_csv(value)


def _writes_csv(value: object) -> bool:
    return hasattr(value, "columns") and (hasattr(value, "to_csv") or hasattr(value, "write_csv"))


def plain(value: Any) -> Any:
    """Make what JSON knows of what it does not: NumPy numbers and arrays, sequences of other types."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, set | frozenset):
        raise TypeError("a set has no order; give a list")
    if isinstance(value, Iterable):
        return list(value)
    raise TypeError(f"{value!r} is neither a number, nor text, nor a list or dictionary of them")


def to_records(value: Any) -> list[dict[str, Any]] | None:
    """Make records of an Arrow table or a list of dictionaries, ``None`` where there is no value; else ``None``."""
    if hasattr(value, "to_pylist"):
        value = value.to_pylist()
    if not isinstance(value, Sequence) or not value or not isinstance(value[0], Mapping):
        return None
    return [{str(name): None if _is_nan(cell) else cell for name, cell in record.items()} for record in value]


def plain_value(value: Any) -> Any:
    """Make what JSON knows of a single value: a NumPy number, a date or a time."""
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return plain(value)


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def to_array(value: Any) -> NDArray[Any]:
    """Make an array; lists of Python numbers become float64, an array keeps its type.

    Parameters
    ----------
    value
        An array, anything with ``__array__``, nested lists or a number.
    """
    import numpy as np

    array = np.asarray(value)
    if not is_array(value) and array.dtype.kind in "iub":
        return array.astype(np.float64)
    return array


def to_features(value: Any) -> NDArray[Any]:
    """Make an array of features: what NumPy does not know as floats (integers, bools, bfloat16) becomes float64."""
    import numpy as np

    array = np.asarray(value)
    return array if array.dtype.kind == "f" else array.astype(np.float64)


def to_npy(array: NDArray[Any]) -> bytes:
    """Encode one array as npy."""
    import numpy as np

    body = io.BytesIO()
    np.lib.format.write_array(body, _without_objects(array), allow_pickle=False)
    return body.getvalue()


def from_npy(path: Path) -> NDArray[Any]:
    """Read an array from an npy file."""
    import numpy as np

    return np.load(path, allow_pickle=False)


def to_npz(arrays: Mapping[str, Any]) -> bytes:
    """Encode named arrays as npz; equal arrays give equal bytes."""
    import numpy as np

    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        for name, value in arrays.items():
            # A ZipInfo of its own carries 1980 as its date, where writestr(name) would carry the clock.
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), to_npy(np.asarray(value)))
    return body.getvalue()


def to_table(table: Any) -> tuple[bytes, Literal["parquet", "csv"]]:
    """Encode a data frame or Arrow table, without its index: as Parquet where that can be, else as CSV.

    Returns
    -------
    content, format

    Raises
    ------
    TypeError
        pyarrow is not installed, and the table does not write CSV.
    ValueError
        Its columns cannot be kept in Parquet, and it does not write CSV.
    """
    fault: Exception | None = None
    if hasattr(table, "__arrow_c_stream__"):
        try:
            return _parquet(table), "parquet"
        except ImportError:
            fault = TypeError(f"a {type(table).__name__} is sent as Parquet, which needs pyarrow: pip install pyarrow")
        except ValueError as error:  # such as of cells that are text and numbers in one column
            fault = error
    if fault is not None and not _writes_csv(table):
        raise fault
    return str(table.to_csv(index=False) if hasattr(table, "to_csv") else table.write_csv()).encode(), "csv"


def _parquet(table: Any) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet

    file = io.BytesIO()
    try:
        if hasattr(table, "iloc"):  # a frame of pandas would give its index away as a column
            content = pa.Table.from_pandas(table, preserve_index=False)
        else:  # categories of polars are a type in its stream that Parquet has no place for
            content = pa.table(table.to_arrow() if hasattr(table, "to_arrow") else table)
        pyarrow.parquet.write_table(content.replace_schema_metadata(), file)
    except pa.ArrowException as error:
        raise ValueError(f"the {type(table).__name__} cannot be made a Parquet file: {error}") from error
    return file.getvalue()


def _without_objects(array: NDArray[Any]) -> NDArray[Any]:
    """Give text that is held as Python objects (pandas does) a type of its own."""
    import numpy as np

    if array.dtype.kind != "O":
        return array
    plain = np.asarray(array.tolist())
    if plain.dtype.kind == "O":
        raise TypeError("the array holds objects that are neither all numbers nor all text")
    return plain


def to_mask(value: Any) -> NDArray[Any]:
    """Make a mask; numbers (0 and 1) become bools."""
    import numpy as np

    return np.asarray(value).astype(np.bool_)


def unpack_bits(packed: NDArray[Any], shape: Sequence[int]) -> NDArray[Any]:
    """Make bools of packed bits, the first element in the lowest bit."""
    import numpy as np

    return np.unpackbits(packed, count=math.prod(shape), bitorder="little").view(np.bool_).reshape(shape)
