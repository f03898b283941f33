"""What a person may ask for: pure schemas.

Reading a specification builds no arrays and needs no NumPy, so that who only passes it on, as the dispatcher does, does
without. Whether its parts fit together and are in the registries is asked by ``training.check``.
"""

from __future__ import annotations

from dropout_service.training.spec.data import ColumnKind, ColumnSpec, DataSpec
from dropout_service.training.spec.dropout import DropoutSpec
from dropout_service.training.spec.layers import LayerSpec
from dropout_service.training.spec.model import EnsembleSpec, ModelSpec
from dropout_service.training.spec.optimizers import AdamSpec, AdamWSpec, SGDSpec
from dropout_service.training.spec.training import EarlyStoppingSpec, TrainingSpec

__all__ = [
    "AdamSpec",
    "AdamWSpec",
    "ColumnKind",
    "ColumnSpec",
    "DataSpec",
    "DropoutSpec",
    "EarlyStoppingSpec",
    "EnsembleSpec",
    "LayerSpec",
    "ModelSpec",
    "SGDSpec",
    "TrainingSpec",
]
