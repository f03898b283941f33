"""Two threads that look through a table: while the columns of a block are, the next one is read."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["each_block"]

_THREADS: Final = 2
_MANY_ROWS: Final = 4096

KeyT = TypeVar("KeyT")


def each_block(
    blocks: Iterator[tuple[int, list[Any]]], columns: Sequence[KeyT], add: Callable[[KeyT, int, Any], None]
) -> int:
    """Give every column of every block to a function, the blocks of a column in their order.

    Parameters
    ----------
    blocks
        The number of each block's first row, from 1, and the values of its columns.
    columns
        What stands for each column.
    add
        Called with that, the number of the first row, and the values; for several columns at once.

    Returns
    -------
    rows
        How many there were.
    """
    rows = 0
    with ThreadPoolExecutor(_THREADS, "scan") as pool:
        ahead = pool.submit(next, blocks, None)
        while (block := ahead.result()) is not None:
            ahead = pool.submit(next, blocks, None)
            first_row, values = block
            # Of few rows a thread would have no more to do than to wait for another.
            several = pool.map if len(values[0]) >= _MANY_ROWS else map
            deque(several(add, columns, repeat(first_row), values), maxlen=0)
            rows += len(values[0])
    return rows
