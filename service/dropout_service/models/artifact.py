"""A trained model as one safetensors file: weights as tensors, everything else as JSON in the metadata. Never pickle.

Reading one validates all of it, so a file from anywhere is safe to load: it either is a model or an error says why.

Format 1, or 2 for a model that reads more than plain numbers, or 3 for one of several networks, whose tensors have an
axis of members before their own, or 4 for one of a transformed target, or 5 for one of several networks that share
weights, see ``nn.sharing``. A later version may add keys anywhere, which an earlier one leaves aside, and which have
defaults where they are missing. What must not be left aside, because it changes what a model computes, comes with
another format, another kind of layer or another loss.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dropout_service.errors import InvalidInputError
from dropout_service.nn.layers import LAYERS
from dropout_service.nn.network import buffer_shapes
from dropout_service.training.check import check_spec
from dropout_service.training.columns import Encoders, NumberEncoder
from dropout_service.training.data import Label
from dropout_service.training.metrics import EpochMetrics
from dropout_service.training.networks import kept_shapes, resolve_loss
from dropout_service.training.spec.dropout import Rate
from dropout_service.training.standardization import Standardization
from dropout_service.training.stored import parse_spec, write_spec
from dropout_service.training.target_transform import IDENTITY, TargetTransform, TransformKind
from dropout_service.training.tensors import naming_version, pack, unpack
from dropout_service.training.trained import TrainedModel, weights_digest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["FORMAT", "description", "dump", "load"]

FORMAT = 5
"""Latest version of the artefact's layout; a reader refuses later ones."""
_PLAIN = 1
"""The layout of a model whose features are numbers, centred and scaled: what all versions of the service read."""
_ENCODED = 2
"""The layout of a single network."""
_ENSEMBLE = 3
"""The layout of a model whose target is standardised alone."""
_TRANSFORMED = 4
"""The layout of a model whose networks share nothing."""


class _ScalingFields(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False)

    mean: list[float]
    scale: list[float]


class _TransformFields(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False)

    kind: TransformKind
    knots: list[list[list[float]]]


class _MetricsFields(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False)

    epoch: int = Field(ge=1)
    epochs: int = Field(ge=1)
    step: int = Field(ge=0)
    learning_rate: float
    train: dict[str, float]
    validation: dict[str, float] | None
    best_epoch: int | None
    dropout_rates: list[Rate] | None = None
    input_dropout_rate: Rate | None = None


class _Description(BaseModel):
    """The JSON of an artefact, as a reader accepts it."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    format: int
    spec: dict[str, Any]
    loss: str
    feature_names: list[str] = Field(min_length=1)
    target_name: str
    target_names: list[str] | None = Field(default=None, min_length=2)
    classes: list[Label] | None
    input_scaling: _ScalingFields | None = None
    columns: list[dict[str, Any]] | None = None
    target_scaling: _ScalingFields | None
    target_transform: _TransformFields | None = None
    layers: list[dict[str, Any]]
    weights_digest: str
    metrics: _MetricsFields


def description(model: TrainedModel) -> dict[str, Any]:
    """Return all of a model but its weights, as JSON values."""
    return {
        "format": _format(model),
        "spec": write_spec(model.spec),
        "loss": model.loss,
        "feature_names": list(model.feature_names),
        "target_name": model.target_name,
        **({} if model.target_names is None else {"target_names": list(model.target_names)}),
        "classes": None if model.classes is None else list(model.classes),
        **_columns_json(model.encoders),
        "target_scaling": None if model.target_scaling is None else model.target_scaling.to_json(),
        **({"target_transform": model.target_transform.to_json()} if model.targets.curved else {}),
        "layers": list(model.layers),
        "weights_digest": model.weights_digest,
        "metrics": model.metrics.to_json(),
    }


def _format(model: TrainedModel) -> int:
    """Return the oldest layout that says all of a model."""
    if model.spec.model.shares:
        return FORMAT
    if model.targets.curved:
        return _TRANSFORMED
    if model.members > 1:
        return _ENSEMBLE
    return _PLAIN if model.encoders.are_plain else _ENCODED


def dump(model: TrainedModel) -> bytes:
    """Return a model as a safetensors file; the same model gives the same bytes.

    The tensors, ``layers.<n>.weight`` (inputs, units), ``layers.<n>.bias`` (units,) and what other layers have, are
    little-endian float32; the metadata holds ``description`` (JSON) and ``written_by``, a version of the service.
    """
    return pack(model.tensors, description(model))


def load(data: bytes) -> TrainedModel:
    """Read what ``dump`` wrote.

    Parameters
    ----------
    data
        The whole file.

    Raises
    ------
    InvalidInputError
        Not a safetensors file, a description that is not one of a model, tensors that are missing, superfluous, not
        finite, or of another shape or type than the description says, or weights that the digest does not match.
    """
    with naming_version(data):
        tensors, fields = unpack(data, pointer="/artifact")
        return _read(tensors, fields)


def _read(tensors: dict[str, NDArray[Any]], fields: dict[str, Any]) -> TrainedModel:
    if fields.get("format") not in range(_PLAIN, FORMAT + 1):
        raise InvalidInputError.at(
            "/artifact/format", f"model format {fields.get('format')!r}; this version reads up to {FORMAT}"
        )
    try:
        read = _Description.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        place = "".join(f"/{part}" for part in first["loc"])
        raise InvalidInputError.at(f"/artifact{place}", f"not a description of a model: {first['msg']}") from error
    try:
        spec = parse_spec(read.spec)
    except InvalidInputError as error:
        raise InvalidInputError.at(f"/artifact/spec{error.errors[0].pointer}", error.message) from error
    model = TrainedModel(
        spec=spec,
        loss=read.loss,
        feature_names=tuple(read.feature_names),
        target_name=read.target_name,
        target_names=None if read.target_names is None else tuple(read.target_names),
        classes=None if read.classes is None else tuple(read.classes),
        encoders=_encoders(read),
        target_scaling=None
        if read.target_scaling is None
        else _scaling(read.target_scaling, len(read.target_names or "1"), "/artifact/target_scaling"),
        target_transform=_transform(read),
        params=tensors,
        metrics=EpochMetrics.from_json(read.metrics.model_dump()),
    )
    buffers = _check(model, read)
    return replace(
        model,
        params={name: tensor for name, tensor in tensors.items() if name not in buffers},
        buffers={name: tensors[name] for name in buffers},
    )


def _columns_json(encoders: Encoders) -> dict[str, Any]:
    """Return how features are encoded: as every version reads it where that is all there is to say."""
    if not encoders.are_plain:
        return {"columns": encoders.to_json()}
    numbers = [encoder for encoder in encoders.columns if isinstance(encoder, NumberEncoder)]
    scaling = {"mean": [one.center for one in numbers], "scale": [one.scale for one in numbers]}
    return {"input_scaling": scaling}


def _encoders(read: _Description) -> Encoders:
    features = len(read.feature_names)
    if read.columns is not None:
        if len(read.columns) != features:
            raise InvalidInputError.at("/artifact/columns", f"{len(read.columns)} columns for {features} features")
        try:
            return Encoders.from_json(read.columns)
        except ValueError as error:
            raise InvalidInputError.at("/artifact/columns", str(error)) from error
    if read.input_scaling is None:
        raise InvalidInputError.at("/artifact/columns", "not a description of a model: the columns are missing")
    scaling = _scaling(read.input_scaling, features, "/artifact/input_scaling")
    mean, scale = scaling.mean.tolist(), scaling.scale.tolist()
    return Encoders(tuple(map(NumberEncoder, mean, scale, mean)))


def _scaling(fields: _ScalingFields, columns: int, pointer: str) -> Standardization:
    if len(fields.mean) != columns or len(fields.scale) != columns or min(fields.scale) <= 0:
        raise InvalidInputError.at(pointer, f"needs {columns} means and as many scales above 0")
    return Standardization.from_json(fields.model_dump())


def _transform(read: _Description) -> TargetTransform:
    if read.target_transform is None:
        return IDENTITY
    try:
        return TargetTransform.from_json(read.target_transform.model_dump(), targets=len(read.target_names or "1"))
    except ValueError as error:
        raise InvalidInputError.at("/artifact/target_transform", str(error)) from error


def _check(model: TrainedModel, read: _Description) -> set[str]:
    """Compare what the description implies with what the file holds, before anything of that size is allocated.

    Returns
    -------
    buffers
        The names of the tensors that are no parameters.
    """
    classes = None if model.classes is None else len(model.classes)
    try:
        loss = resolve_loss(model.spec, classes)
    except InvalidInputError as error:
        raise InvalidInputError.at("/artifact/classes", error.message) from error
    if loss != model.loss or (classes is None) != (model.target_scaling is not None):
        raise InvalidInputError.at("/artifact/loss", "loss, classes and scaling do not fit the specification")
    if model.target_transform.kind != model.spec.target_transform:
        raise InvalidInputError.at("/artifact/target_transform", "not the transform of the specification")
    try:
        check_spec(model.spec, model.encoders.cardinalities)
    except InvalidInputError as error:
        raise error.within("/artifact/spec") from error
    layers = model.bare_layers()
    _check_tensors(model.params, kept_shapes(model.spec.model, layers))
    if weights_digest(model.params) != read.weights_digest:
        raise InvalidInputError.at("/artifact/weights_digest", "the weights do not match it: the file is damaged")
    _check_layers(model, read.layers)
    try:
        model.sampling_layers()
    except InvalidInputError as error:
        raise InvalidInputError.at("/artifact/metrics/dropout_rates", error.message) from error
    return set(buffer_shapes(layers))


def _check_layers(model: TrainedModel, described: list[dict[str, Any]]) -> None:
    """Compare the layers by what both say of them: either may have keys that the other does not know."""
    for number, layer in enumerate(described):
        if layer.get("kind") not in tuple(LAYERS):  # which may be anything, and then has no hash
            message = f"this version has no layer of the kind {layer.get('kind')!r}; there are {', '.join(LAYERS)}"
            raise InvalidInputError.at(f"/artifact/layers/{number}/kind", message)
    same = len(described) == len(model.layers) and all(
        stored[key] == value
        for ours, stored in zip(model.layers, described, strict=True)
        for key, value in ours.items()
        if key in stored
    )
    if not same:
        raise InvalidInputError.at("/artifact/layers", "the layers do not fit the specification")


def _check_tensors(tensors: Mapping[str, NDArray[Any]], expected: Mapping[str, tuple[int, ...]]) -> None:
    for name, shape in expected.items():
        if name not in tensors:
            raise InvalidInputError.at(f"/artifact/{name}", "the tensor is missing")
        _check_tensor(name, tensors[name], shape)
    unknown = sorted(tensors.keys() - expected.keys())
    if unknown:
        raise InvalidInputError.at(f"/artifact/{unknown[0]}", "no such tensor belongs to this model")


def _check_tensor(name: str, tensor: NDArray[Any], shape: tuple[int, ...]) -> None:
    if tensor.dtype != np.float32 or tensor.shape != shape:
        raise InvalidInputError.at(
            f"/artifact/{name}", f"{tensor.dtype} of shape {tensor.shape}, not float32 of shape {shape}"
        )
    if not math.isfinite(float(np.abs(tensor).max())):
        raise InvalidInputError.at(f"/artifact/{name}", "not all weights are finite")
