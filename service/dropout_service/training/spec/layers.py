"""``LayerSpec``: one layer of a network.

Which kinds there are, and what each takes, is said by one registry, ``nn.layers.LAYERS``: it describes the schema here,
and is asked by ``training.check`` whether a specification fits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict, Field

from dropout_service.training.spec.dropout import DropoutForm
from dropout_service.training.spec.published import describe_layers
from dropout_service.training.spec.strict import StrictSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LayerSpec"]


class LayerSpec(StrictSpec):
    """A layer: its kind, what that kind takes, and the dropout in it."""

    model_config = ConfigDict(extra="allow", json_schema_extra=describe_layers)

    kind: str = Field(description="What the layer computes, and the parameters it takes.")
    dropout: DropoutForm = Field(
        default=0.0, description="Dropout of the layer: a rate, or an object that names a variant."
    )

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The kind's own parameters, as given."""
        return self.model_extra or {}
