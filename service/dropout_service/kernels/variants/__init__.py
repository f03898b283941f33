"""The variants of dropout that the service offers: one table, from which API, client, training and docs are fed.

A new variant is a `Variant` in a module of this package and a line in `VARIANTS`.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from dropout_service.kernels.variants.alpha import ALPHA, FEATURE_ALPHA
from dropout_service.kernels.variants.concrete import CONCRETE
from dropout_service.kernels.variants.dropblock import DROPBLOCK
from dropout_service.kernels.variants.gaussian import GAUSSIAN
from dropout_service.kernels.variants.noise_shapes import (
    BATCHWISE,
    DROP_PATH,
    DROPCONNECT,
    FEATURE_1D,
    FEATURE_2D,
    FEATURE_3D,
    LOCKED,
    STANDARD,
    mask_shape,
)
from dropout_service.kernels.variants.parameters import Parameter
from dropout_service.kernels.variants.table import Gradients, Variant

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["VARIANTS", "Gradients", "Parameter", "Variant", "mask_shape"]

VARIANTS: Final[Mapping[str, Variant]] = MappingProxyType(
    {
        variant.name: variant
        for variant in (
            STANDARD,
            FEATURE_1D,
            FEATURE_2D,
            FEATURE_3D,
            GAUSSIAN,
            ALPHA,
            FEATURE_ALPHA,
            DROPCONNECT,
            DROPBLOCK,
            DROP_PATH,
            LOCKED,
            BATCHWISE,
            CONCRETE,
        )
    }
)
"""Every variant, by name."""
