"""What a network computes in evaluation, as one list of operations: what an export starts from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dropout_service.nn.ops import within

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dropout_service.nn.heads import Head
    from dropout_service.nn.layers.base import Layer
    from dropout_service.nn.ops import Op

__all__ = ["lower"]


def lower(layers: Sequence[Layer], head: Head) -> tuple[Op, ...]:
    """Return what a network computes: from ``x``, standardised input, to the values that its head gives.

    Parameters and buffers have the names of ``parameter_shapes``: ``layers.<number>.<name>``.

    Parameters
    ----------
    layers
        The network.
    head
        What its outputs mean.
    """
    ops: list[Op] = []
    x = "x"
    for number, layer in enumerate(layers):
        ops += within(f"layers.{number}", layer.lower(), {"x": x})
        x = f"layers.{number}.y"
    return (*ops, *within("head", head.lower(), {"x": x, **{name: name for name in head.outputs}}))
