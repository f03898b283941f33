from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import safetensors.numpy
from dropout_specs import DROPOUTS, SCHEDULES, model_with

from dropout_service.errors import InvalidInputError
from dropout_service.models import artifact
from dropout_service.models.prediction import predict
from dropout_service.training.tensors import pack, unpack

if TYPE_CHECKING:
    from collections.abc import Callable

    from dropout_service.training.trained import TrainedModel

LOSSES = ["binary_cross_entropy", "cross_entropy", "squared_error", "huber", "gaussian_nll", "quantile"]
DELETE = object()


@pytest.mark.parametrize("loss", LOSSES)
def test_a_loaded_model_is_the_dumped_one(make_model: Callable[..., TrainedModel], loss: str):
    model = make_model(loss, early_stopping={"patience": 3}, model={"hidden": [5], "input_dropout": 0.1})
    data = artifact.dump(model)
    read = artifact.load(data)
    assert artifact.description(read) == artifact.description(model)
    assert artifact.dump(read) == data
    x = np.random.default_rng(0).standard_normal((5, 4))
    for samples in (None, 3):
        ours, theirs = (predict(one, x, mc_samples=samples, seed=1) for one in (read, model))
        figures = "probabilities" if model.classes else "values"
        np.testing.assert_array_equal(getattr(ours, figures), getattr(theirs, figures))
    assert read.classes == model.classes


@pytest.mark.parametrize("variant", DROPOUTS)
def test_a_model_of_every_variant_is_kept_whole(make_model: Callable[..., TrainedModel], variant: str):
    model = make_model("squared_error", model=model_with(variant), epochs=2)
    data = artifact.dump(model)
    read = artifact.load(data)
    assert artifact.description(read) == artifact.description(model)
    assert artifact.dump(read) == data
    assert read.spec == model.spec
    x = np.random.default_rng(0).standard_normal((5, 4))
    for samples in (None, 3):
        ours, theirs = (predict(one, x, mc_samples=samples, seed=1) for one in (read, model))
        np.testing.assert_array_equal(ours.values, theirs.values)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_model_samples_at_the_rate_that_it_ended_with(make_model: Callable[..., TrainedModel], schedule: str):
    model = make_model("squared_error", model=model_with("standard", schedule), epochs=4)
    read = artifact.load(artifact.dump(model))
    assert read.metrics.dropout_rates == model.metrics.dropout_rates
    x = np.random.default_rng(0).standard_normal((5, 4))
    spread = predict(read, x, mc_samples=20).std
    assert (spread > 0).all() if schedule != "early" else (spread == 0).all()


def test_a_model_from_before_rates_could_move_is_read(make_model: Callable[..., TrainedModel]):
    model = make_model()
    tensors, fields = unpack(artifact.dump(model), pointer="/")
    for name in ("dropout_rates", "input_dropout_rate"):
        del fields["metrics"][name]
    read = artifact.load(pack(tensors, fields))
    assert read.metrics.to_json() == fields["metrics"] | {"dropout_rates": None, "input_dropout_rate": None}
    x = np.random.default_rng(0).standard_normal((5, 4))
    ours, theirs = (predict(one, x, mc_samples=3).probabilities for one in (read, model))
    np.testing.assert_array_equal(ours, theirs)


def test_labels_keep_their_type(make_model: Callable[..., TrainedModel]):
    model = make_model("cross_entropy")
    for classes in ((1, 2, 3), (0.5, 1.5, 2.5), ("1", "2", "3"), (False, True, "x")):
        object.__setattr__(model, "classes", classes)
        read = artifact.load(artifact.dump(model))
        assert [(type(label), label) for label in read.classes] == [(type(label), label) for label in classes]


def test_any_safetensors_reader_finds_little_endian_float32(make_model: Callable[..., TrainedModel]):
    model = make_model()
    tensors = safetensors.numpy.load(artifact.dump(model))
    assert set(tensors) == {f"layers.{i}.{name}" for i in range(3) for name in ("weight", "bias")}
    assert {tensor.dtype.str for tensor in tensors.values()} == {"<f4"}


def test_the_description_says_what_a_reader_needs(make_model: Callable[..., TrainedModel]):
    described = json.loads(json.dumps(artifact.description(make_model()), allow_nan=False))
    assert described["format"] == 1, "what every version reads"
    assert described["feature_names"] == ["a", "b", "c", "d"]
    assert described["classes"] == ["class 0", "class 1", "class 2"]
    assert len(described["input_scaling"]["mean"]) == 4
    assert described["layers"][0] == {"kind": "dense", "inputs": 4, "units": 16, "activation": "relu", "dropout": 0.3}
    assert described["metrics"]["epoch"] == 5
    assert described["spec"]["model"]["hidden"] == [16, 8]


def changed(model: Any, path: str, value: Any) -> bytes:
    """The model's file with one field of its description replaced."""
    tensors, fields = unpack(artifact.dump(model), pointer="/")
    *parents, last = path.split("/")
    place = fields
    for part in parents:
        place = place[int(part) if isinstance(place, list) else part]
    if value is DELETE:
        del place[last]
    else:
        place[last] = value
    return pack(tensors, fields)


@pytest.mark.parametrize(
    ("path", "value", "pointer"),
    [
        ("format", artifact.FORMAT + 1, "/artifact/format"),
        ("format", DELETE, "/artifact/format"),
        ("spec", DELETE, "/artifact/spec"),
        ("spec/model/hidden", [16, 9], "/artifact/layers.1.weight"),
        ("spec/model/hidden", [65536] * 64, "/artifact/layers.0.weight"),
        ("spec/model/activation", "softplus", "/artifact/spec/model/activation"),
        ("spec/model/activation", "tanh", "/artifact/layers"),
        ("loss", "pinball", "/artifact/loss"),
        ("loss", "gaussian_nll", "/artifact/loss"),
        ("feature_names", [], "/artifact/feature_names"),
        ("feature_names", ["a", "b", "c"], "/artifact/input_scaling"),
        ("classes", ["one", "two"], "/artifact/layers.2.weight"),
        ("classes", None, "/artifact/classes"),
        ("classes", ["one"], "/artifact/classes"),
        ("input_scaling/mean", [0.0], "/artifact/input_scaling"),
        ("input_scaling/scale", [1.0, 1.0, 1.0, 0.0], "/artifact/input_scaling"),
        ("input_scaling/scale", ["1", "1", "1", "1"], "/artifact/input_scaling/scale/0"),
        ("target_scaling", {"mean": [0.0], "scale": [1.0]}, "/artifact/loss"),
        ("metrics/epoch", 0, "/artifact/metrics/epoch"),
        (
            "spec/model/input_dropout",
            {"variant": "feature1d", "rate": 0.1, "shape": [3, 3]},
            "/artifact/spec/model/input_dropout/shape",
        ),
        ("metrics", {}, "/artifact/metrics/epoch"),
        ("metrics/dropout_rates", [0.3], "/artifact/metrics/dropout_rates"),
        ("metrics/dropout_rates", [0.3, 1.5], "/artifact/metrics/dropout_rates/1"),
        ("weights_digest", "sha256:0", "/artifact/weights_digest"),
        ("layers/0/kind", "attention", "/artifact/layers/0/kind"),
        ("layers/0/kind", [], "/artifact/layers/0/kind"),
        ("layers", [], "/artifact/layers"),
    ],
)
def test_a_lying_description_is_refused(make_model: Callable[..., TrainedModel], path: str, value: Any, pointer: str):
    with pytest.raises(InvalidInputError) as caught:
        artifact.load(changed(make_model(loss="cross_entropy"), path, value))
    assert caught.value.errors[0].pointer == pointer


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        pytest.param(lambda tensors: tensors.pop("layers.1.bias"), "/artifact/layers.1.bias", id="missing"),
        pytest.param(lambda tensors: tensors.update(spare=np.ones(1, np.float32)), "/artifact/spare", id="superfluous"),
        pytest.param(
            lambda tensors: tensors.update({"layers.0.bias": np.ones(16)}), "/artifact/layers.0.bias", id="dtype"
        ),
        pytest.param(
            lambda tensors: tensors.update({"layers.0.bias": np.ones(17, np.float32)}),
            "/artifact/layers.0.bias",
            id="shape",
        ),
        pytest.param(
            lambda tensors: tensors["layers.0.weight"].fill(np.nan), "/artifact/layers.0.weight", id="not finite"
        ),
        pytest.param(
            lambda tensors: tensors["layers.0.weight"].fill(0.5), "/artifact/weights_digest", id="other values"
        ),
    ],
)
def test_other_tensors_than_described_are_refused(
    make_model: Callable[..., TrainedModel], change: Callable[..., object], pointer: str
):
    tensors, fields = unpack(artifact.dump(make_model()), pointer="/")
    tensors = {name: tensor.copy() for name, tensor in tensors.items()}
    change(tensors)
    with pytest.raises(InvalidInputError) as caught:
        artifact.load(pack(tensors, fields))
    assert caught.value.errors[0].pointer == pointer


def test_damaged_bytes_are_refused(make_model: Callable[..., TrainedModel]):
    data = artifact.dump(make_model())
    for damaged in (b"", b"PK\x03\x04", data[:-1], data[:50], data + b"\0", data[:-4] + b"\0\0\0\1"):
        with pytest.raises(InvalidInputError):
            artifact.load(damaged)
