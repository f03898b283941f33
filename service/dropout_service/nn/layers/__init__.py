"""Layers, and the registry of their kinds: a family a file, each with its row.

A kind of layer is added by a class, a `LayerKind` in a module of this package, and a line in `LAYERS`. Specifications,
their checks and schema, initialisation, optimizers, checkpoints, models, predictions and the lowering for exports work
from that row and from the class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dropout_service.nn.layers.activation import ACTIVATION
from dropout_service.nn.layers.columns import COLUMNS
from dropout_service.nn.layers.dense import DENSE
from dropout_service.nn.layers.normalization import BATCH_NORM, LAYER_NORM
from dropout_service.nn.layers.numeric import PERIODIC, PIECEWISE_LINEAR
from dropout_service.nn.layers.placement import DROPOUT
from dropout_service.nn.layers.scale import SCALE

if TYPE_CHECKING:
    from dropout_service.nn.layers.kind import LayerKind

__all__ = ["LAYERS"]

LAYERS: Final[dict[str, LayerKind]] = {
    kind.name: kind
    for kind in (
        DENSE,
        DROPOUT,
        ACTIVATION,
        LAYER_NORM,
        BATCH_NORM,
        SCALE,
        PERIODIC,
        PIECEWISE_LINEAR,
        COLUMNS,
    )
}
"""Every kind of layer, by name."""
