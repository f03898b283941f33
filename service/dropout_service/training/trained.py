"""``TrainedModel``: a trained network with all that a prediction needs."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from dropout_service.errors import InvalidInputError
from dropout_service.nn.heads import QuantileHead
from dropout_service.nn.network import Network, dropouts
from dropout_service.nn.shared_network import SharedNetwork
from dropout_service.training.networks import build_layers, build_loss, output_units
from dropout_service.training.target_transform import IDENTITY, TargetTransform
from dropout_service.training.targets import Targets

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from dropout_service.nn.heads import Head
    from dropout_service.nn.layers.base import Layer
    from dropout_service.nn.losses import Loss
    from dropout_service.training.columns import Encoders
    from dropout_service.training.data import Label
    from dropout_service.training.metrics import EpochMetrics
    from dropout_service.training.spec import TrainingSpec
    from dropout_service.training.standardization import Standardization

__all__ = ["TrainedModel", "weights_digest"]


@dataclass(frozen=True, slots=True, eq=False)
class TrainedModel:
    """A trained network.

    Parameters
    ----------
    spec
        How it was trained; arrays given in place are not kept (``data.dataset`` is then ``"inline"``).
    loss
        The loss, with ``auto`` decided.
    feature_names, target_name
        Names of the columns; of several targets, all in one text.
    classes
        Labels in the order of the outputs; ``None`` for a regression.
    encoders
        From raw features to what the network reads.
    target_scaling
        Standardisation of the target; ``None`` for a classification.
    params
        Weights (inputs, units), biases (units,) and other parameters by name, float32. Of an ensemble each has an axis
        of members before these; where its members share weights, they are as ``Sharing`` says.
    metrics
        Figures of the epoch whose weights these are.
    target_names
        The names of several targets; ``None`` where there is one.
    target_transform
        What was applied to the target of a regression before its standardisation.
    buffers
        What layers keep beside their parameters, such as running statistics, by name, float32, with the same axis;
        without it where members share weights.
    """

    spec: TrainingSpec
    loss: str
    feature_names: tuple[str, ...]
    target_name: str
    classes: tuple[Label, ...] | None
    encoders: Encoders
    target_scaling: Standardization | None
    params: Mapping[str, NDArray[np.float32]]
    metrics: EpochMetrics
    buffers: Mapping[str, NDArray[np.float32]] = field(default_factory=dict[str, Any])
    target_names: tuple[str, ...] | None = None
    target_transform: TargetTransform = IDENTITY

    @property
    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """Parameters and buffers by name."""
        return {**self.params, **self.buffers}

    @property
    def weights_digest(self) -> str:
        """Digest of parameters and buffers, see ``weights_digest``."""
        return weights_digest(self.tensors)

    @property
    def head(self) -> Head:
        """What the outputs of the network mean."""
        return self._loss.head

    @property
    def targets(self) -> Targets:
        """The targets, as the network sees them and as a person does."""
        return Targets(self.target_names or (self.target_name,), self.target_transform, self.target_scaling)

    @property
    def answer_columns(self) -> int:
        """Columns of the widest figure of a prediction."""
        if self.classes is not None:
            return len(self.classes)
        head = self.head
        return head.targets * (len(head.levels) if isinstance(head, QuantileHead) else 1)

    @property
    def _loss(self) -> Loss:
        return build_loss(self.spec, self.loss, 1 if self.target_names is None else len(self.target_names))

    @property
    def layers(self) -> tuple[dict[str, Any], ...]:
        """The layers in order, each with its kind, its numbers of units and its dropout as specified."""
        return tuple(dict(layer.description) for layer in self.bare_layers())

    def bare_layers(self) -> tuple[Layer, ...]:
        """Return new layers without parameters, which take no memory.

        Raises
        ------
        InvalidInputError
            The specification does not fit the features.
        """
        classes = None if self.classes is None else len(self.classes)
        return build_layers(self.spec.model, self.encoders.cardinalities, output_units(self._loss, classes))

    def sampling_layers(self) -> tuple[Layer, ...]:
        """Return ``bare_layers`` at the dropout rates that the training ended with.

        Raises
        ------
        InvalidInputError
            The specification does not fit the features, or the rates do not fit the specification.
        """
        layers = self.bare_layers()
        if self.metrics.dropout_rates is not None:
            places = dropouts(layers)
            rates = (self.metrics.input_dropout_rate, *self.metrics.dropout_rates)
            if len(rates) != len(places):
                raise InvalidInputError.at("/dropout_rates", f"{len(rates) - 1} rates for {len(places) - 1} layers")
            for dropout, rate in zip(places, rates, strict=True):
                if dropout is not None and rate is not None and not dropout.learned:
                    dropout.rate = rate
        return layers

    @property
    def members(self) -> int:
        """How many networks it has."""
        return self.spec.model.members

    def networks(self) -> Iterable[Network]:
        """Return its networks, with a copy of their parameters and buffers, to be gone through as often as needed.

        Networks that share weights are one that takes turns: each is lent until the next.
        """
        tensors, model = self.tensors, self.spec.model
        if model.shares:
            shared = SharedNetwork(self.sampling_layers(), self.members)
            _fill(shared, tensors)
            return shared
        networks = [Network(self.sampling_layers()) for _ in range(self.members)]
        for member, network in enumerate(networks):
            of_one = {name: tensor[member] for name, tensor in tensors.items()} if model.ensemble else tensors
            _fill(network, of_one)
        return networks


def _fill(network: Network | SharedNetwork, tensors: Mapping[str, NDArray[Any]]) -> None:
    for name, view in (network.parameters.views() | network.buffers.views()).items():
        view[:] = tensors[name]


def weights_digest(params: Mapping[str, NDArray[Any]]) -> str:
    """Return ``sha256:<hex>`` over names, dtypes, shapes and little-endian bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(params):
        array = params[name]
        digest.update(f"{name}|{array.dtype.name}|{','.join(map(str, array.shape))}\n".encode())
        little = array if sys.byteorder == "little" else array.byteswap()
        digest.update(np.ascontiguousarray(little).data)
    return f"sha256:{digest.hexdigest()}"
