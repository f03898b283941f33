"""From the rows of a dataset to what the network sees: split, standardised, float32."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dropout_service.errors import InvalidInputError
from dropout_service.training.split import split
from dropout_service.training.standardization import Standardization, blocks
from dropout_service.training.weights import row_weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dropout_service.nn.network import Network
    from dropout_service.training.data import TrainingData
    from dropout_service.training.spec import TrainingSpec

__all__ = ["PreparedData", "check_inputs", "prepare"]


@dataclass(frozen=True, slots=True, eq=False)
class PreparedData:
    """The training and the validation part.

    Parameters
    ----------
    x, y
        Training part: features (rows, features) float32; class indices int64 or values float32, (rows,), or
        (rows, targets).
    x_validation, y_validation
        Validation part, possibly without rows.
    input_scaling
        What was applied to the features.
    target_scaling
        What was applied to the values of a regression.
    weights, weights_validation
        Factors of the rows' losses, float64, see ``row_weights``; without elements where all are 1.
    """

    x: NDArray[np.float32]
    y: NDArray[Any]
    x_validation: NDArray[np.float32]
    y_validation: NDArray[Any]
    input_scaling: Standardization
    target_scaling: Standardization | None
    weights: NDArray[np.float64]
    weights_validation: NDArray[np.float64]


def check_inputs(data: TrainingData, network: Network) -> None:
    """Check that a network can take all rows, before any is trained on.

    Raises
    ------
    InvalidInputError
        With column and row of the first value that it cannot take.
    """
    fault = network.find_fault(data.x)
    if fault is not None:
        row, column, wrong = fault
        raise InvalidInputError.at("/data", f"column `{data.feature_names[column]}`, row {row + 1:,}: {wrong}")


def prepare(spec: TrainingSpec, data: TrainingData, *, codes: Sequence[int] = ()) -> PreparedData:
    """Split and scale; what is fitted is fitted on the training part only.

    Parameters
    ----------
    spec, data
        What to train on, and how.
    codes
        Columns of the features that are not scaled, since they are codes of categories.

    Raises
    ------
    InvalidInputError
        No possible split, values beyond float32, or weights that leave nothing.
    """
    train, validation = split(data, spec.validation_fraction, seed=spec.seed)
    inputs = Standardization.identity(data.x.shape[1])
    names = data.target_names or (data.target_name,)
    target = None if data.classes is not None else Standardization.identity(len(names))
    if spec.standardize:
        inputs = Standardization.fit(data.x, train, names=data.feature_names, pointer="/data")
        inputs = inputs.sparing(codes)
        if target is not None:
            y = data.y.astype(np.float64).reshape(len(data.y), -1)
            target = Standardization.fit(y, train, names=names, pointer="/data/target")
    return PreparedData(
        _features(data, train, inputs),
        _targets(data, train, target),
        _features(data, validation, inputs),
        _targets(data, validation, target),
        inputs,
        target,
        *row_weights(spec, data, train, validation),
    )


def _features(data: TrainingData, rows: NDArray[np.intp], scaling: Standardization) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        x = np.empty((rows.size, data.x.shape[1]), np.float32)
        begin = 0
        for part in blocks(data.x, rows):
            x[begin : begin + len(part)] = scaling.apply(part)
            begin += len(part)
    bad = np.flatnonzero(~np.isfinite(x).all(axis=0))
    if bad.size:
        raise InvalidInputError.at(
            "/data", f"values of column `{data.feature_names[bad[0]]}` exceed float32; use a larger unit"
        )
    return x


def _targets(data: TrainingData, rows: NDArray[np.intp], scaling: Standardization | None) -> NDArray[Any]:
    if scaling is None:
        return data.y[rows]
    with np.errstate(over="ignore"):
        y = scaling.apply(data.y[rows].astype(np.float64)).astype(np.float32)
    if not np.isfinite(y).all():
        raise InvalidInputError.at("/data/target", "target values exceed float32; use a larger unit")
    return y
