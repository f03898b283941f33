"""A row of the registry of layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dropout_service.kernels.variants.parameters import Parameter, checked_parameters

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import DTypeLike

    from dropout_service.nn.layers.base import Layer
    from dropout_service.nn.layers.rules import DropoutRule

__all__ = ["LayerKind", "Place"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a network a layer is made.

    Parameters
    ----------
    inputs
        Units of the layer before, or features.
    number
        The layer's number: addresses its streams.
    dtype
        ``float32``, or ``float64`` for gradient checks.
    first
        Whether nothing but dropout comes before: the inputs are those of the network.
    cardinalities
        What each input of the network is: 0 a number, 1 passed on as it is, more: how many codes. Empty where all are
        numbers.
    """

    inputs: int
    number: int
    dtype: DTypeLike
    first: bool
    cardinalities: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerKind:
    """A row of the registry: one kind of layer, as a specification names it.

    Parameters
    ----------
    name
        Its name in specifications and descriptions.
    computes
        What it computes, in a line.
    parameters
        What a specification says of it, beside ``kind`` and ``dropout``.
    drops
        Whether it has a place for dropout.
    make
        ``make(place, parameters, dropout)`` returns the layer, which takes no memory until a network binds it.
        Parameters are checked, with the defaults filled in. It raises ``InvalidInputError`` for what does not fit
        together, with pointers below the layer's entry.
    """

    name: str
    computes: str
    parameters: tuple[Parameter, ...] = ()
    drops: bool = False
    make: Callable[[Place, Mapping[str, Any], DropoutRule], Layer]

    def checked_parameters(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return all parameters, the defaults filled in.

        Raises
        ------
        InvalidInputError
            With a pointer to each name that is not its own, and to the first value that is missing or out of range.
        """
        return checked_parameters(f'layer "{self.name}"', self.parameters, given)
