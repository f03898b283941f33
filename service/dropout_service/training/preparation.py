"""From the rows of a dataset to what the network sees: split, encoded, float32."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dropout_service.errors import InvalidInputError
from dropout_service.training.columns import Encoders
from dropout_service.training.split import split
from dropout_service.training.standardization import Standardization

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dropout_service.training.data import TrainingData
    from dropout_service.training.spec import TrainingSpec

__all__ = ["PreparedData", "prepare"]


@dataclass(frozen=True, slots=True, eq=False)
class PreparedData:
    """The training and the validation part.

    Parameters
    ----------
    x, y
        Training part: encoded features (rows, width) float32; class indices int64 or values float32, (rows,).
    x_validation, y_validation
        Validation part, possibly without rows.
    encoders
        What was applied to the features.
    target_scaling
        What was applied to the values of a regression.
    """

    x: NDArray[np.float32]
    y: NDArray[Any]
    x_validation: NDArray[np.float32]
    y_validation: NDArray[Any]
    encoders: Encoders
    target_scaling: Standardization | None


def prepare(spec: TrainingSpec, data: TrainingData) -> PreparedData:
    """Split, encode and scale; what is fitted is fitted on the training part only.

    Raises
    ------
    InvalidInputError
        No possible split, or values beyond float32.
    """
    train, validation = split(data, spec.validation_fraction, seed=spec.seed)
    encoders = Encoders.fit(data, train, _kinds(spec, data), spec.scaling if spec.standardize else "none")
    target = None if data.classes is not None else Standardization.identity(1)
    if spec.standardize and target is not None:
        target = Standardization.fit(
            data.y[:, np.newaxis].astype(np.float64), train, names=(data.target_name,), pointer="/data/target"
        )

    def overflow(feature: int) -> InvalidInputError:
        message = f"values of column `{data.feature_names[feature]}` exceed float32; use a larger unit"
        return InvalidInputError.at("/data", message)

    return PreparedData(
        encoders.encode(data.x, data.texts, train, overflow=overflow),
        _targets(data, train, target),
        encoders.encode(data.x, data.texts, validation, overflow=overflow),
        _targets(data, validation, target),
        encoders,
        target,
    )


def _kinds(spec: TrainingSpec, data: TrainingData) -> list[str]:
    """Return how each feature is used: as the specification says, or as what it is."""
    return [
        spec.data.kind_of(name, default="category" if name in data.labels else "number") for name in data.feature_names
    ]


def _targets(data: TrainingData, rows: NDArray[np.intp], scaling: Standardization | None) -> NDArray[Any]:
    if scaling is None:
        return data.y[rows]
    with np.errstate(over="ignore"):
        y = scaling.apply(data.y[rows].astype(np.float64)).astype(np.float32)
    if not np.isfinite(y).all():
        raise InvalidInputError.at("/data/target", "target values exceed float32; use a larger unit")
    return y
