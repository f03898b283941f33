"""From the rows of a dataset to what the network sees: split, encoded, float32."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dropout_service.errors import InvalidInputError
from dropout_service.scratch import IN_MEMORY
from dropout_service.training.blocks import RowBlocks, slices
from dropout_service.training.columns import Encoders
from dropout_service.training.standardization import Standardization
from dropout_service.training.target_transform import IDENTITY, TargetTransform
from dropout_service.training.weights import row_weights

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from dropout_service.nn.network import Network
    from dropout_service.nn.shared_network import SharedNetwork
    from dropout_service.scratch import Scratch
    from dropout_service.training.data import TrainingData
    from dropout_service.training.spec import TrainingSpec
    from dropout_service.training.split import Split

__all__ = ["PreparedData", "check_inputs", "fit_encoders", "prepare"]


@dataclass(frozen=True, slots=True, eq=False)
class PreparedData:
    """The training and the validation part.

    Parameters
    ----------
    x, y
        Training part: encoded features (rows, width) float32; class indices int64 or values float32, (rows,), or
        (rows, targets).
    x_validation, y_validation
        RowBlocks among which the validation part is, possibly none.
    encoders
        What was applied to the features.
    target_transform, target_scaling
        What was applied to the values of a regression, in this order; no scaling for a classification.
    weights, weights_validation
        Factors of the losses of the rows of both parts, float64, see ``row_weights``; without elements where all are 1.
    held_out
        Numbers of the rows of ``x_validation`` that are validated on; ``None``: all.
    """

    x: NDArray[np.float32]
    y: NDArray[Any]
    x_validation: NDArray[np.float32]
    y_validation: NDArray[Any]
    encoders: Encoders
    target_transform: TargetTransform
    target_scaling: Standardization | None
    weights: NDArray[np.float64]
    weights_validation: NDArray[np.float64]
    held_out: NDArray[np.intp] | None = None

    @property
    def validation_rows(self) -> int:
        """How many rows the validation part has."""
        return len(self.x_validation) if self.held_out is None else self.held_out.size

    def validation_blocks(self, most: int) -> Iterator[tuple[NDArray[np.float32], NDArray[Any], NDArray[np.float64]]]:
        """Yield features, targets and weights of at most so many rows of the validation part at a time."""
        for part in slices(self.validation_rows, most):
            rows = part if self.held_out is None else self.held_out[part]
            yield self.x_validation[rows], self.y_validation[rows], self.weights_validation[part]

    def of_parts(
        self, parts: Split, weights: tuple[NDArray[np.float64], NDArray[np.float64]], scratch: Scratch = IN_MEMORY
    ) -> PreparedData:
        """Return the same with other parts of the rows of ``x``: a validation part of its own beside all rows.

        Parameters
        ----------
        parts
            Numbers of the rows to train and to validate on.
        weights
            Of both parts, see ``row_weights``.
        scratch
            Keeps the weights.
        """
        of_all = self.weights
        if weights[0].size:
            of_all = scratch.empty(len(self.x), np.float64)
            of_all[:] = 0
            of_all[parts.train] = weights[0]
        return replace(
            self,
            x_validation=self.x,
            y_validation=self.y,
            weights=of_all,
            weights_validation=scratch.keep(weights[1]),
            held_out=parts.validation,
        )


def fit_encoders(spec: TrainingSpec, data: TrainingData, train: NDArray[np.intp]) -> Encoders:
    """Fit the encoders of the features to the training rows only.

    Raises
    ------
    InvalidInputError
        Numbers too large to be scaled.
    """
    kinds = [
        spec.data.kind_of(name, default="category" if name in data.labels else "number") for name in data.feature_names
    ]
    return Encoders.fit(data, train, kinds, spec.scaling if spec.standardize else "none")


def prepare(
    spec: TrainingSpec, data: TrainingData, parts: Split, encoders: Encoders, scratch: Scratch = IN_MEMORY
) -> PreparedData:
    """Encode and scale both parts; what is fitted is fitted to the training part only.

    Parameters
    ----------
    spec, data
        What to train on, and how.
    parts
        The rows of both parts.
    encoders
        As ``fit_encoders`` gave them.
    scratch
        Makes the arrays.

    Raises
    ------
    InvalidInputError
        Values beyond float32, or weights that leave nothing.
    """
    names = data.target_names or (data.target_name,)
    transform, target = IDENTITY, None
    if data.classes is None:
        y = data.y.astype(np.float64, copy=False).reshape(len(data.y), -1)
        transform = TargetTransform.fit(spec.target_transform, y, parts.train, names=names)
        target = Standardization.identity(len(names))
        if spec.standardize:
            transformed = RowBlocks(transform.apply(y), parts.train)
            target = Standardization.fit(transformed, names=names, pointer="/data/target")

    def overflow(feature: int) -> InvalidInputError:
        message = f"values of column `{data.feature_names[feature]}` exceed float32; use a larger unit"
        return InvalidInputError.at("/data", message)

    return PreparedData(
        encoders.encode(data.x, data.texts, parts.train, overflow=overflow, scratch=scratch),
        _targets(data, parts.train, transform, target, scratch),
        encoders.encode(data.x, data.texts, parts.validation, overflow=overflow, scratch=scratch),
        _targets(data, parts.validation, transform, target, scratch),
        encoders,
        transform,
        target,
        *map(scratch.keep, row_weights(spec, data, *parts)),
    )


def check_inputs(data: TrainingData, parts: Split, rows: PreparedData, network: Network | SharedNetwork) -> None:
    """Check that a network can take all rows, before any is trained on.

    Raises
    ------
    InvalidInputError
        With column and row of the first value that it cannot take.
    """
    for numbers, x in zip(parts, (rows.x, rows.x_validation), strict=True):
        fault = network.find_fault(x)
        if fault is not None:
            row, column, wrong = fault
            name = data.feature_names[rows.encoders.feature_of(column)]
            raise InvalidInputError.at("/data", f"column `{name}`, row {numbers[row] + 1:,}: {wrong}")


def _targets(
    data: TrainingData,
    rows: NDArray[np.intp],
    transform: TargetTransform,
    scaling: Standardization | None,
    scratch: Scratch,
) -> NDArray[Any]:
    y = scratch.empty((rows.size, *data.y.shape[1:]), data.y.dtype if scaling is None else np.float32)
    for part in slices(rows.size):
        values = data.y[rows[part]]
        with np.errstate(over="ignore"):
            y[part] = values if scaling is None else scaling.apply(transform.apply(values.astype(np.float64)))
        if not np.isfinite(y[part]).all():
            raise InvalidInputError.at("/data/target", "target values exceed float32; use a larger unit")
    return y
