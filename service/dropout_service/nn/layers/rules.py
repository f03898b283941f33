"""What a network is made from, as plain values: rules of layers and of dropout."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["NO_DROPOUT", "Description", "DropoutRule", "LayerRule"]

Description = dict[str, int | float | str | bool | list[int] | None]
"""What kind of layer one is, as JSON values."""


@dataclass(frozen=True, slots=True)
class DropoutRule:
    """What is dropped at one place of a network.

    Parameters
    ----------
    rate
        Probability of dropping; where it is learned, the initial one.
    variant
        A name of ``VARIANTS``.
    shape
        How the units of a sample are laid out, as in (channels, length), for variants that look at that; ``None``:
        as one row.
    parameters
        The variant's own, by name; those left out have their defaults.
    """

    rate: float
    variant: str = "standard"
    shape: tuple[int, ...] | None = None
    parameters: Mapping[str, float] = field(default_factory=dict[str, float])

    def description(self) -> Description:
        """Return the rule as JSON values: of standard dropout only the rate."""
        described: Description = {"dropout": self.rate}
        if self.variant != "standard":
            described["variant"] = self.variant
        if self.shape is not None:
            described["shape"] = list(self.shape)
        return described | dict(self.parameters)


NO_DROPOUT = DropoutRule(0.0)


@dataclass(frozen=True, slots=True)
class LayerRule:
    """One layer of a network.

    Parameters
    ----------
    kind
        A name of ``LAYERS``.
    parameters
        The kind's own, by name; those left out have their defaults.
    dropout
        What is dropped in it.
    pointer, dropout_pointer
        Where the layer and its dropout were asked for, so that a fault is told there.
    """

    kind: str
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    dropout: DropoutRule = NO_DROPOUT
    pointer: str = ""
    dropout_pointer: str = "/dropout"
