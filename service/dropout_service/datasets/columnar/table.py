"""Read Parquet and Arrow IPC files in batches of rows, only the columns that are needed.

What a file declares is compared with the budgets before anything of it is unpacked.
"""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import pyarrow.ipc
import pyarrow.parquet

from dropout_service.datasets.arrow import pa
from dropout_service.datasets.columnar.values import is_usable, values_of
from dropout_service.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from dropout_service.budgets import Budget, Budgets
    from dropout_service.datasets.arrow import Batch, Cells
    from dropout_service.datasets.dataset import ColumnarFormat

__all__ = ["ColumnarTable"]

_ipc: Any = pyarrow.ipc
_parquet: Any = pyarrow.parquet

_NAMES: Final[dict[ColumnarFormat, str]] = {
    "parquet": "Parquet file",
    "arrow": "Arrow IPC file",
    "arrows": "Arrow IPC stream",
}
_BLOCK_CELLS: Final = 1 << 20
_MOST_ROWS: Final = 1 << 16
_BUFFER_BYTES: Final = 1 << 20
_SHOWN_CHARS: Final = 300
_METADATA_BYTES: Final = 1 << 26
_METADATA_ITEMS: Final = 1 << 22


class ColumnarTable:
    """A Parquet or Arrow IPC file.

    Parameters
    ----------
    path, format
        The file.
    budgets
        Bounds of its columns and cells; ``None`` for what was found acceptable before.
    bound
        Which of them is that of the cells.

    Raises
    ------
    InvalidInputError
        It is damaged, or its names are empty or not distinct.
    OverBudgetError
        It declares too many columns or cells.
    """

    def __init__(
        self,
        path: Path,
        format: ColumnarFormat,  # noqa: A002 - the field's word
        budgets: Budgets | None = None,
        *,
        bound: Budget = "cells",
    ) -> None:
        self._path = path
        self._format: ColumnarFormat = format
        self._budgets = budgets
        self._bound: Budget = bound
        with _explained(format):
            schema = self._read_schema()
        if budgets is not None:
            budgets.check("columns", len(schema.names))
        _check_names(schema.names)
        self.names: tuple[str, ...] = tuple(schema.names)
        """Names of the columns."""
        self.types = tuple(str(kind) for kind in schema.types)
        """Their types, as Arrow writes them."""
        self.usable = tuple(map(is_usable, schema.types))
        """Whether a training can read each column."""
        self._leaves = [_leaves(kind) for kind in schema.types]

    def blocks(self, columns: Sequence[int]) -> Iterator[tuple[int, list[NDArray[np.float64] | Cells]]]:
        """Read the rows.

        Parameters
        ----------
        columns
            Places of those to read, all of them usable; one at least.

        Yields
        ------
        tuple
            The number of the block's first row, from 1, and of each column what ``values_of`` makes of it.

        Raises
        ------
        InvalidInputError
            The file is damaged.
        OverBudgetError
            It has too many cells.
        """
        wanted = sorted(set(columns))
        block_rows = max(1, min(_MOST_ROWS, _BLOCK_CELLS // len(wanted)))
        rows = 0
        with _explained(self._format):
            for batch in self._batches(wanted, block_rows):
                self._check_cells(rows + batch.num_rows)
                batch.validate(full=True)
                for start in range(0, batch.num_rows, block_rows):
                    part = batch.slice(start, block_rows)
                    yield rows + start + 1, [values_of(part.column(wanted.index(place))) for place in columns]
                rows += batch.num_rows

    def _read_schema(self) -> Any:
        if self._format == "parquet":
            with _open_parquet(self._path) as file:
                self._check_cells(file.metadata.num_rows, len(file.schema_arrow.names))
                return file.schema_arrow
        with pa.memory_map(str(self._path)) as file:
            return self._open_ipc(file).schema

    def _batches(self, columns: Sequence[int], rows: int) -> Iterator[Batch]:
        if self._format == "parquet":
            leaves = [sum(self._leaves[:place]) for place in columns]
            with _open_parquet(self._path) as file:
                groups = list(range(file.metadata.num_row_groups))
                yield from file.reader.iter_batches(rows, row_groups=groups, column_indices=leaves, use_threads=False)
            return
        with pa.memory_map(str(self._path)) as file:
            reader = self._open_ipc(file, columns)
            if self._format == "arrows":
                yield from reader
            else:
                yield from map(reader.get_batch, range(reader.num_record_batches))

    def _open_ipc(self, file: Any, columns: Sequence[int] = ()) -> Any:
        options = _ipc.IpcReadOptions(use_threads=False, included_fields=list(columns) or None)
        return (_ipc.open_file if self._format == "arrow" else _ipc.open_stream)(file, options=options)

    def _check_cells(self, rows: int, columns: int | None = None) -> None:
        if self._budgets is not None:
            self._budgets.check(self._bound, rows * (len(self.names) if columns is None else columns))


def _open_parquet(path: Path) -> Any:
    return _parquet.ParquetFile(
        str(path),
        buffer_size=_BUFFER_BYTES,
        thrift_string_size_limit=_METADATA_BYTES,
        thrift_container_size_limit=_METADATA_ITEMS,
    )


def _leaves(kind: Any) -> int:
    """Return how many columns Parquet stores for one of a type."""
    if isinstance(kind, pa.BaseExtensionType):
        return _leaves(kind.storage_type)
    if pa.types.is_dictionary(kind) or not kind.num_fields:
        return 1
    return sum(_leaves(kind.field(place).type) for place in range(kind.num_fields))


def _check_names(names: Sequence[str]) -> None:
    doubles = sorted(name for name, times in Counter(names).items() if times > 1)
    if doubles:
        raise InvalidInputError(f"more than one column is called {doubles[0][:40]!r}; names must be distinct")
    for place, name in enumerate(names, start=1):
        if not name.strip() or name != name.strip() or "\0" in name:
            raise InvalidInputError(f"column {place} is called {name[:40]!r}; give it a name without spaces around")
    if not names:
        raise InvalidInputError("the file has no columns")


@contextmanager
def _explained(format: ColumnarFormat) -> Generator[None]:  # noqa: A002 - the field's word
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        if isinstance(error, MemoryError):
            raise
        raise InvalidInputError(f"the {_NAMES[format]} cannot be read: {str(error)[:_SHOWN_CHARS]}") from error
