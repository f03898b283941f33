"""The state of a training between two steps, as bytes.

Masks, shuffles, splits and initial weights are pure functions of the seed and the position, so no generator state is
stored: the position, the parameters, the buffers and the optimizer's memory say everything. A digest of all that is
inside, so that a bit that has flipped on the disk is found, and never trained on.

Format 2. A later version may add keys, which an earlier one leaves aside, and which have defaults where they are
missing; what must not be left aside comes with another format. ``training`` is what version 0.1.0 compares.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from dropout_service.errors import InvalidInputError
from dropout_service.training.metrics import EpochMetrics
from dropout_service.training.tensors import naming_version, pack, unpack

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from dropout_service.training.identity import Identity

__all__ = ["Position", "TrainingEnd", "load", "save"]

_FORMAT = 2
_POSITION = ("epoch", "batch", "step", "sums", "running_s", "metrics", "best", "stop_reason")
"""What a position of format 2 has at least."""

TrainingEnd = Literal["completed", "early_stopped", "max_runtime"]
"""How a training ended that left a model; one of the stop reasons of a job."""


@dataclass(slots=True)
class Position:
    """How far a training is.

    Parameters
    ----------
    epoch
        Epochs closed.
    batch
        Mini-batches done of the epoch under way.
    step
        Optimizer steps done.
    sums
        Running sums of the epoch under way, see ``kernels.losses``.
    running_s
        Seconds spent running, over all attempts.
    metrics
        Of the last closed epoch.
    best
        Early stopping: figures of the epoch whose weights are kept.
    stop_reason
        Set when the training has ended.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    sums: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    running_s: float = 0.0
    metrics: EpochMetrics | None = None
    best: EpochMetrics | None = None
    stop_reason: TrainingEnd | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values; every float survives exactly."""
        return asdict(replace(self, sums=np.zeros(0))) | {"sums": self.sums.tolist()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Build from what ``to_json`` of this version or another gave."""
        missing = [name for name in _POSITION if name not in values]
        if missing:
            raise ValueError(f"it has no {', '.join(missing)}")
        position = cls(**{one.name: values[one.name] for one in fields(cls) if one.name in values})
        position.sums = np.asarray(position.sums, np.float64)
        position.metrics, position.best = (
            None if values[name] is None else EpochMetrics.from_json(values[name]) for name in ("metrics", "best")
        )
        return position


def save(identity: Identity, positions: Sequence[Position], tensors: Mapping[str, NDArray[Any]]) -> bytes:
    """Return the checkpoint of a training.

    Parameters
    ----------
    identity
        What decides its numbers.
    positions
        How far each of its networks is.
    tensors
        Everything that steps have changed.
    """
    first, *others = positions
    description = {
        "format": _FORMAT,
        "training": identity.digest,
        "identity": identity.to_json(),
        "position": first.to_json(),
        **({"others": [position.to_json() for position in others]} if others else {}),
    }
    return pack(tensors, {**description, "digest": _digest(description, tensors)})


def load(data: bytes, identity: Identity, tensors: Mapping[str, NDArray[Any]], *, networks: int = 1) -> list[Position]:
    """Copy a checkpoint's tensors into ``tensors`` and return the position of each of ``networks`` networks.

    Raises
    ------
    InvalidInputError
        Not a checkpoint, a damaged one, one of another training, or one that this version cannot read.
    """
    with naming_version(data):
        stored, description = unpack(data, pointer="/checkpoint")
        if description.get("format") != _FORMAT:
            message = f"checkpoint format {description.get('format')!r}; this version reads {_FORMAT}"
            raise InvalidInputError.at("/checkpoint", message)
        if description.pop("digest", None) != _digest(description, stored):
            raise InvalidInputError.at(
                "/checkpoint", "the checkpoint is damaged: its digest is not that of its content"
            )
        _check_identity(description, identity)
        for name, tensor in tensors.items():
            found = stored.get(name)
            if found is None or found.shape != tensor.shape or found.dtype != tensor.dtype:
                raise InvalidInputError.at("/checkpoint", f"tensor `{name}` is missing or of another shape or type")
        try:
            stored_positions = [description["position"], *description.get("others", ())]
            positions = [Position.from_json(position) for position in stored_positions]
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInputError.at("/checkpoint", f"the position is damaged: {error!r}") from error
        if len(positions) != networks:
            message = f"it has positions of {len(positions)} networks, not of {networks}"
            raise InvalidInputError.at("/checkpoint", message)
    for name, tensor in tensors.items():
        tensor[:] = stored[name]
    return positions


def _check_identity(description: Mapping[str, Any], identity: Identity) -> None:
    """Refuse the checkpoint of another training."""
    try:
        if "identity" in description:
            difference = identity.difference(description["identity"])
        else:
            same = description.get("training") == identity.digest
            difference = None if same else "another specification, other data or another generator"
    except (KeyError, TypeError, AttributeError) as error:
        raise InvalidInputError.at("/checkpoint", f"the identity is damaged: {error!r}") from error
    if difference is not None:
        raise InvalidInputError.at("/checkpoint", f"the checkpoint belongs to {difference}")


def _digest(description: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> str:
    """Return the digest of a checkpoint's content: every value, with its name, type and shape."""
    digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(repr((name, tensor.dtype.str, tensor.shape)).encode())
        digest.update(np.ascontiguousarray(tensor).data)
    return f"sha256:{digest.hexdigest()}"
