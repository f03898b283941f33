"""Arrays that come within a job's specification are kept as a dataset, like any other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dropout_service.datasets.arrays import MAX_LABEL_CHARS, npz_bytes
from dropout_service.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["from_arrays"]


def from_arrays(x: Sequence[Sequence[float]], y: Sequence[float] | Sequence[int] | Sequence[str]) -> memoryview:
    """Write features and targets as an npz; equal arrays give equal bytes, and so one dataset.

    Parameters
    ----------
    x
        Features, shape (rows, features).
    y
        Targets, shape (rows,): numbers or class labels.

    Raises
    ------
    InvalidInputError
        The rows differ in length, there is nothing in them, or there are more or fewer targets than rows.
    """
    if not x or not x[0]:
        raise InvalidInputError.at("/data/x", "`x` is empty; it needs at least one row and one column")
    width = len(x[0])
    for index, row in enumerate(x):
        if len(row) != width:
            raise InvalidInputError.at(f"/data/x/{index}", f"this row has {len(row)} values; the first has {width}")
    if len(y) != len(x):
        raise InvalidInputError.at("/data/y", f"`y` has {len(y)} values; `x` has {len(x)} rows")
    for index, label in enumerate(y):
        if isinstance(label, str) and len(label) > MAX_LABEL_CHARS:
            raise InvalidInputError.at(
                f"/data/y/{index}", f"a class label has at most {MAX_LABEL_CHARS} characters; this has {len(label)}"
            )
    return npz_bytes(np.array(x, np.float64), _targets(y))


def _targets(y: Sequence[float] | Sequence[int] | Sequence[str]) -> NDArray[np.generic]:
    targets = np.array(y)
    if targets.dtype.hasobject:  # integers that neither int64 nor uint64 can hold
        index, value = next((i, n) for i, n in enumerate(y) if isinstance(n, int) and not -(2**63) <= n < 2**63)
        raise InvalidInputError.at(
            f"/data/y/{index}",
            f"an integer is of 64 bits at most, and this has {value.bit_length()}; write a number with a decimal "
            "point, and a class label as text",
        )
    return targets
