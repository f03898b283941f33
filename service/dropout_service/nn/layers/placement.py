"""From a rule of dropout to the layer that applies it; the row ``dropout`` of the registry."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from dropout_service.errors import InvalidInputError
from dropout_service.nn.layers.concrete import ConcreteDropout
from dropout_service.nn.layers.dropout import Dropout, VariantDropout, WeightDropout
from dropout_service.nn.layers.kind import LayerKind, Place

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dropout_service.nn.layers.base import DropoutLayer
    from dropout_service.nn.layers.rules import DropoutRule

__all__ = ["BRANCHES", "DROPOUT", "make_dropout"]

_LAYERS: Final[Mapping[str, Callable[..., VariantDropout]]] = {
    "dropconnect": WeightDropout,
    "concrete": ConcreteDropout,
}
"""Variants that need more of their layer than the table says."""
_WEIGHTS: Final = {"dropconnect"}
BRANCHES: Final = {"drop_path"}
"""Variants of what residual connections lead past."""


def make_dropout(place: Place, units: int, rule: DropoutRule) -> DropoutLayer:
    """Return the layer that applies a rule to ``units`` units.

    Raises
    ------
    InvalidInputError
        The rule does not fit its variant or the units: with pointers below ``/dropout``.
    """
    if rule.shape is not None and math.prod(rule.shape) != units:
        message = f"{list(rule.shape)} holds {math.prod(rule.shape)} units, not {units}"
        raise InvalidInputError.at("/dropout/shape", message)
    if rule.variant == "standard":
        return Dropout(units, rule.rate, layer=place.number, dtype=place.dtype)
    make = _LAYERS.get(rule.variant, VariantDropout)
    try:
        return make(units, rule, layer=place.number, dtype=place.dtype)
    except InvalidInputError as error:
        raise error.within("/dropout") from error


def _make(place: Place, parameters: Mapping[str, Any], rule: DropoutRule) -> DropoutLayer:
    del parameters
    if rule.variant in {*_WEIGHTS, *BRANCHES}:
        where = "at the inputs" if place.number == 0 else "in a layer of its own"
        raise InvalidInputError.at("/dropout", f"`{rule.variant}` has nothing to drop {where}")
    return make_dropout(place, place.inputs, rule)


DROPOUT: Final = LayerKind(
    name="dropout", computes="y = dropout(x), in evaluation the identity", drops=True, make=_make
)
