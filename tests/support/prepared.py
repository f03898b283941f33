"""The rows of a training without its network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dropout_service.training.preparation import PreparedData, fit_encoders, prepare
from dropout_service.training.split import split

if TYPE_CHECKING:
    from dropout_service.training.data import TrainingData
    from dropout_service.training.spec import TrainingSpec

__all__ = ["prepared"]


def prepared(spec: TrainingSpec, data: TrainingData) -> PreparedData:
    """Split, encode and scale as a trainer does."""
    parts = split(data, spec.validation_fraction, seed=spec.seed)
    return prepare(spec, data, parts, fit_encoders(spec, data, parts.train))
