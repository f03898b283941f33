"""Which rows are held out for validation."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dropout_service.errors import InvalidInputError
from dropout_service.kernels.streams import Purpose, permutation, stream
from dropout_service.scratch import IN_MEMORY

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dropout_service.scratch import Scratch
    from dropout_service.training.data import TrainingData

__all__ = ["Split", "split"]


class Split(NamedTuple):
    """Numbers of the rows of both parts, sorted."""

    train: NDArray[np.intp]
    validation: NDArray[np.intp]


def split(data: TrainingData, fraction: float, *, seed: int, scratch: Scratch = IN_MEMORY) -> Split:
    """Divide the rows into a training and a validation part.

    A classification is stratified: each class gives the same share, up to rounding, and keeps at least one row for
    training (a class of one row is not validated on).

    Parameters
    ----------
    data
        The rows.
    fraction
        Share of the rows to hold out, in [0, 1); at least one row is held out unless it is 0.
    seed
        The parts are a pure function of it, the targets and the fraction.
    scratch
        Keeps the numbers.

    Returns
    -------
    Split
        The rows of both parts.

    Raises
    ------
    InvalidInputError
        A class without rows, or no row that could be held out.
    """
    rows = len(data.y)
    if data.classes is None:
        groups = [np.arange(rows)]
    else:
        groups = [np.flatnonzero(data.y == index) for index in range(len(data.classes))]
        empty = [repr(label) for label, group in zip(data.classes, groups, strict=True) if not group.size]
        if empty:
            raise InvalidInputError.at("/data/target", f"no row has the class {', '.join(empty)}; leave it out")
    if fraction == 0:
        return Split(np.arange(rows), np.arange(0))
    spare = np.array([group.size - 1 for group in groups])
    if not spare.any():
        raise InvalidInputError.at(
            "/validation_fraction",
            f"none of the {rows} rows can be held out, because every class keeps at least one row for training; "
            "set it to 0 or give more rows",
        )
    counts = _shares([group.size for group in groups], spare, fraction)
    held_out = np.zeros(rows, np.bool_)
    for index, (group, count) in enumerate(zip(groups, counts, strict=True)):
        order = permutation(group.size, seed=seed, offset=stream(Purpose.SPLIT, step=index))
        held_out[group[order[:count]]] = True
    return Split(scratch.keep(np.flatnonzero(~held_out)), scratch.keep(np.flatnonzero(held_out)))


def _shares(sizes: list[int], spare: NDArray[np.int64], fraction: float) -> NDArray[np.int64]:
    """Return the number of rows of each group, by largest remainders, so that the total is the rounded fraction."""
    wanted = np.array(sizes) * fraction
    counts = np.minimum(np.floor(wanted).astype(np.int64), spare)
    total = min(max(1, round(sum(sizes) * fraction)), int(spare.sum()))
    while counts.sum() < total:
        # Of equal remainders the first class gives the row; a class without spare rows gives none
        counts[np.argmax(np.where(counts < spare, wanted - counts, -np.inf))] += 1
    return counts
