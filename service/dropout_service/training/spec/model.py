"""``ModelSpec``: the network to train."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from dropout_service.training.spec.dropout import DropoutForm, Dropouts
from dropout_service.training.spec.layers import LayerSpec
from dropout_service.training.spec.strict import Items, StrictSpec

__all__ = ["EnsembleSpec", "ModelSpec"]


class EnsembleSpec(StrictSpec):
    """Several networks of one shape, trained side by side: a deep ensemble (Lakshminarayanan et al. 2017)."""

    members: int = Field(
        default=8,
        ge=2,
        le=64,
        description="How many. They differ in initial weights, shuffles and masks; the first is the network that would "
        "be trained alone. Their spread is part of what a prediction says of its uncertainty.",
    )
    held_out: Literal["shared", "own"] = Field(
        default="shared",
        exclude_if=lambda value: value == "shared",
        description="The part of the rows that `validation_fraction` holds out: the same for all networks, or one of "
        "its own for each, so that every row is trained on by most of them.",
    )
    share: bool = Field(
        default=False,
        exclude_if=lambda value: not value,
        description="Share the weights of hidden layers: one network, in which each member has factors of the inputs "
        "and units of each hidden layer, biases and an output layer of its own (TabM, Gorishniy et al. 2025). All are "
        "trained on the same mini-batches, and early stopping watches their mean.",
    )

    @field_validator("share")
    @classmethod
    def _on_the_same_rows(cls, share: bool, info: ValidationInfo) -> bool:  # noqa: FBT001 - a field
        if share and info.data.get("held_out") == "own":
            raise ValueError(
                "members that share weights are trained on the same rows: give `held_out` `shared`, or leave it out"
            )
        return share


class ModelSpec(StrictSpec):
    """A feed-forward network with dropout: by default a multi-layer perceptron."""

    hidden: Items[Annotated[int, Field(ge=1, le=65_536)]] = Field(
        default=(128, 128),
        max_length=64,
        description="Units of each hidden layer; empty for a linear model.",
    )
    activation: Literal["relu", "gelu", "tanh", "sigmoid", "selu", "silu", "mish"] = Field(
        default="relu", description="Activation of the hidden layers. `gelu` is its tanh form."
    )
    residual: bool = Field(
        default=False,
        exclude_if=lambda value: not value,
        description="Lead past each hidden layer but the first: y = x + dropout(activation(x weight + bias)). All "
        "hidden layers then have one width.",
    )
    dropout: Dropouts = Field(
        default=0.5,
        description="Dropout after each hidden activation: one for all hidden layers, or one for each. A number is the "
        "rate of standard dropout; an object names a variant. `dropconnect` drops weights of its hidden layer instead; "
        "`drop_path` drops what `residual` leads past, and so needs it.",
        examples=[0.5, [0.2, 0.5], {"variant": "gaussian", "rate": 0.3}],
    )
    input_dropout: DropoutForm = Field(
        default=0.0,
        description="Dropout of the inputs, in the same forms; `dropconnect` and `drop_path` have no place here.",
    )
    layers: Items[LayerSpec] | None = Field(
        default=None,
        min_length=1,
        max_length=64,
        exclude_if=lambda value: value is None,
        description="The layers before the linear output layer, one by one, in place of `hidden`, `activation`, "
        "`residual` and `dropout`, which are a shorthand for dense layers of one kind.",
        examples=[[{"kind": "dense", "units": 128, "dropout": 0.3}, {"kind": "dense", "units": 64}]],
    )
    initializer: Literal[
        "auto", "he_normal", "he_uniform", "glorot_normal", "glorot_uniform", "lecun_normal", "lecun_uniform"
    ] = Field(
        default="auto",
        description="Initialisation of the weights. `auto`: he_normal for ReLU, GELU, SiLU and Mish, lecun_normal for "
        "SELU, glorot_uniform otherwise.",
    )

    ensemble: EnsembleSpec | None = Field(
        default=None,
        exclude_if=lambda value: value is None,
        description="Train several such networks in place of one.",
    )

    @property
    def members(self) -> int:
        """How many networks are trained."""
        return 1 if self.ensemble is None else self.ensemble.members

    @property
    def own_parts(self) -> bool:
        """Whether each network holds out rows of its own."""
        return self.ensemble is not None and self.ensemble.held_out == "own"

    @property
    def shares(self) -> bool:
        """Whether its networks share weights."""
        return self.ensemble is not None and self.ensemble.share

    @field_validator("residual")
    @classmethod
    def _one_width(cls, residual: bool, info: ValidationInfo) -> bool:  # noqa: FBT001 - a field
        hidden = info.data.get("hidden", ())
        if residual and len(set(hidden)) > 1:
            raise ValueError(f"residual connections need hidden layers of one width, not {list(hidden)}")
        return residual

    @field_validator("dropout")
    @classmethod
    def _one_each(cls, dropout: Dropouts, info: ValidationInfo) -> Dropouts:
        hidden = info.data.get("hidden")
        if isinstance(dropout, tuple) and hidden is not None and len(dropout) != len(hidden):
            raise ValueError(
                f"{len(dropout)} rates for {len(hidden)} hidden layers; give one rate, or one for each hidden layer"
            )
        return dropout

    @model_validator(mode="after")
    def _one_list_of_layers(self) -> ModelSpec:
        if self.layers is not None:
            given = [name for name in _SHORTHAND if getattr(self, name) != type(self).model_fields[name].default]
            if given:
                raise ValueError(f"`layers` says what `{given[0]}` would say of all; leave `{given[0]}` out")
        return self


_SHORTHAND = ("hidden", "activation", "residual", "dropout")
"""Fields that describe layers all at once."""
