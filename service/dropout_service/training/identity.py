"""What decides the numbers of a training: a checkpoint goes on only where it is the same."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self, cast

import numpy as np
from pydantic import BaseModel

from dropout_service.kernels.codegen.keystream import GENERATOR
from dropout_service.training.blocks import slices

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from dropout_service.training.data import TrainingData
    from dropout_service.training.plan import MemberPlan
    from dropout_service.training.spec import TrainingSpec

__all__ = ["Identity"]

_FREE: Final = {"name", "data", "max_runtime_s"}
"""What may change between attempts; the data count by their content."""
_OF_0_1: Final[dict[str, Any]] = {
    "task": True,
    "model": {"hidden", "activation", "residual", "dropout", "input_dropout", "initializer"},
    "loss": True,
    "optimizer": {"kind", "learning_rate", "weight_decay", "momentum", "nesterov", "beta1", "beta2", "epsilon"},
    "schedule": {"kind", "warmup_epochs", "every_epochs", "factor", "final_factor"},
    "epochs": True,
    "batch_size": True,
    "max_norm": True,
    "clip_norm": True,
    "validation_fraction": True,
    "early_stopping": {"patience", "min_delta"},
    "standardize": True,
    "seed": True,
    "threads": True,
}
"""The fields that version 0.1.0 knew: it kept a digest of all of them."""


def _meaning(part: Any) -> Any:
    """Return what a part of a specification says beyond the defaults, as JSON values.

    Two versions write the same for the same, whatever optional fields one of them has in addition.
    """
    if isinstance(part, BaseModel):
        defaults = {name: field.default for name, field in type(part).model_fields.items()}
        return {
            name: _meaning(value)
            for name, value in part
            if name == "kind" or name not in defaults or value != defaults[name]
        }
    return [_meaning(one) for one in cast("tuple[Any, ...]", part)] if isinstance(part, tuple) else part


def _said(spec: TrainingSpec) -> dict[str, Any]:
    """Return what a specification says of the numbers of its training."""
    return {name: value for name, value in _meaning(spec).items() if name not in _FREE}


def _parts(data: TrainingData) -> Iterator[bytes | memoryview]:
    """Yield all that is in the data as bytes, arrays row by row."""
    yield repr((data.x.shape, data.y.dtype.name, data.classes)).encode()
    yield from _bytes_of(data.x)
    yield from _bytes_of(data.y)
    if data.labels:
        yield repr(data.texts).encode()
    if data.weights is not None:
        yield from _bytes_of(data.weights)


def _bytes_of(array: NDArray[Any]) -> Iterator[memoryview]:
    for part in slices(len(array)):
        yield np.ascontiguousarray(array[part]).data


@dataclass(frozen=True, slots=True)
class Identity:
    """What decides the numbers of a training.

    Parameters
    ----------
    spec
        What the specification says beyond the defaults.
    data
        Digest of the data: arrays, and labels of the classes.
    generator
        Name of the generator of every draw.
    digest
        All that in one, as version 0.1.0 knew it, which has nothing else in its checkpoints.
    """

    spec: Mapping[str, Any]
    data: str
    generator: str
    digest: str

    @classmethod
    def of(cls, spec: TrainingSpec, data: TrainingData, members: Sequence[MemberPlan] | None = None) -> Self:
        """Return the identity of a training; of one whose networks were given, with them."""
        content = hashlib.sha256()
        whole = hashlib.sha256(spec.model_dump_json(include=_OF_0_1).encode())
        whole.update(GENERATOR.encode())
        for part in _parts(data):
            content.update(part)
            whole.update(part)
        said = _said(spec)
        if members is not None:
            said["members"] = [[_said(member.spec), member.rows_digest] for member in members]
        return cls(said, f"sha256:{content.hexdigest()}", GENERATOR, whole.hexdigest())

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {"spec": self.spec, "data": self.data, "generator": self.generator}

    def difference(self, fields: Mapping[str, Any]) -> str | None:
        """Return in words in what another training, as of ``to_json``, differs; ``None`` where it is the same."""
        theirs: Mapping[str, Any] = fields["spec"]
        changed = sorted(name for name in {*self.spec, *theirs} if self.spec.get(name) != theirs.get(name))
        differences = [f"another specification ({', '.join(f'`{name}`' for name in changed)})"] if changed else []
        if fields["data"] != self.data:
            differences.append("other data")
        if fields["generator"] != self.generator:
            differences.append(f"another generator ({fields['generator']}, not {self.generator})")
        return " and ".join(differences) or None
