"""The layers of a multi-layer perceptron in one call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dropout_service.nn.network import make_layers, mlp_rules

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import DTypeLike

    from dropout_service.nn.layers.base import Layer

__all__ = ["mlp_layers"]


def mlp_layers(
    inputs: int, hidden: Sequence[int], outputs: int, *, dtype: DTypeLike = np.float32, **options: Any
) -> tuple[Layer, ...]:
    """Return the layers that ``mlp_rules(hidden, **options)`` describes, and a linear one."""
    return make_layers(inputs, mlp_rules(hidden, **options), outputs, dtype)
