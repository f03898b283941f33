"""How much the loss of each row counts: weights of rows and of classes as one factor."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import numpy as np

from dropout_service.errors import InvalidInputError
from dropout_service.nn.losses import UNWEIGHTED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from dropout_service.training.data import Label, TrainingData
    from dropout_service.training.spec import TrainingSpec

__all__ = ["row_weights"]

_SHOWN: Final = 10


def row_weights(
    spec: TrainingSpec, data: TrainingData, train: NDArray[np.intp], validation: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the factors of the rows of both parts: 1 on average over the training part; no elements if all are 1.

    So the mean of the weighted losses over the rows is the weighted mean of the losses, and the mean over a mini-batch
    is right on average.

    Parameters
    ----------
    spec
        What classes count.
    data
        The rows, with what each counts.
    train, validation
        Row numbers of both parts.

    Raises
    ------
    InvalidInputError
        A weight of a class that there is not, or nothing but zeros in one of the parts.
    """
    if data.weights is None and spec.class_weights is None:
        return UNWEIGHTED, UNWEIGHTED
    # Divided by the largest, no sum overflows
    weights = np.ones(len(data.y)) if data.weights is None else data.weights / (data.weights.max() or 1.0)
    if spec.class_weights is not None and data.classes is not None:
        y = data.y.astype(np.int64, copy=False)
        weights = weights * _of_classes(spec.class_weights, data.classes, y, train)[y]
    for part, rows in (("training", train), ("validation", validation)):
        if rows.size and not weights[rows].any():
            message = f"no row of the {part} part has a weight above 0; give more rows one, or another seed"
            raise InvalidInputError.at("/data/weight", message)
    weights = weights / weights[train].mean()
    return weights[train], weights[validation]


def _of_classes(
    given: str | Mapping[str, float], classes: tuple[Label, ...], y: NDArray[np.int64], train: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Return the factor of each class."""
    if isinstance(given, str):
        return train.size / (len(classes) * np.bincount(y[train], minlength=len(classes)))
    names = [label if isinstance(label, str) else json.dumps(label) for label in classes]
    for name in given:
        if name not in names:
            shown = ", ".join(f"`{one[:40]}`" for one in names[:_SHOWN])
            more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
            message = f"there is no class `{name[:40]}`; the classes are {shown}{more}"
            raise InvalidInputError.at("/class_weights", message)
    return np.array([given.get(name, 1.0) for name in names])
