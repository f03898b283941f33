"""Models and checkpoints of every version so far, kept as files, are read by this one; see ``stored_trainings``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import safetensors.numpy
import stored_trainings
from stored_trainings import SPECS, VERSION_0_1, figures_of, training_data, training_spec

from dropout_service import __version__
from dropout_service.errors import InvalidInputError
from dropout_service.models import artifact
from dropout_service.nn.layers import LAYERS
from dropout_service.training import checkpoint, tensors
from dropout_service.training.tensors import pack, unpack
from dropout_service.training.trainer import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable

    from dropout_service.training.trained import TrainedModel

    Change = Callable[[dict[str, Any]], object]

EXPECTED: dict[str, Any] = json.loads((VERSION_0_1 / "expected.json").read_text(encoding="utf-8"))
each_training = pytest.mark.parametrize("name", SPECS)


def stored_model(name: str) -> bytes:
    return (VERSION_0_1 / f"{name}.safetensors").read_bytes()


def stored_checkpoint(name: str) -> bytes:
    return (VERSION_0_1 / f"{name}.checkpoint").read_bytes()


def finished(name: str, resume: bytes | None = None) -> TrainedModel:
    trainer = Trainer(training_spec(name), training_data(name), resume=resume)
    assert trainer.step == (0 if resume is None else stored_trainings.STOP_STEP)
    list(trainer.run())
    return trainer.finish()


def assert_predicts_as_then(model: TrainedModel, name: str):
    for mode, figures in EXPECTED[name]["predictions"].items():
        ours = figures_of(model)[mode]
        assert set(ours) == set(figures)
        for figure, values in figures.items():
            # Matrix products of another CPU differ in the last bits of float32
            np.testing.assert_allclose(ours[figure], values, rtol=2e-5, atol=1e-6, err_msg=f"{mode} {figure}")


@each_training
def test_a_model_predicts_what_it_predicted(name: str):
    model = artifact.load(stored_model(name))
    assert model.weights_digest == EXPECTED[name]["weights_digest"]
    assert_predicts_as_then(model, name)


@each_training
def test_a_model_is_written_so_that_the_version_that_wrote_it_reads_it(name: str):
    """It refuses any key that it does not know."""
    then, now = (unpack(data, pointer="") for data in (stored_model(name), artifact.dump(finished(name))))
    assert then[0].keys() == now[0].keys()
    assert keys(then[1]) == keys(now[1])


def keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: keys(one) for name, one in value.items()}
    return [keys(one) for one in value] if isinstance(value, list) else type(value)


@each_training
def test_a_checkpoint_ends_as_the_uninterrupted_training(name: str):
    straight, resumed = finished(name), finished(name, stored_checkpoint(name))
    if straight.weights_digest == EXPECTED[name]["weights_digest"]:  # on a CPU that multiplies as that one did
        assert resumed.weights_digest == straight.weights_digest
    for parameter, values in straight.params.items():
        np.testing.assert_allclose(resumed.params[parameter], values, rtol=1e-3, atol=1e-5)


@each_training
def test_a_checkpoint_is_written_so_that_the_version_that_wrote_it_goes_on_from_it(name: str):
    """It compares ``training``, and takes any other key of the description."""
    trainer = Trainer(training_spec(name), training_data(name))
    list(trainer.run(lambda: trainer.step == stored_trainings.STOP_STEP))
    then, now = (unpack(data, pointer="") for data in (stored_checkpoint(name), trainer.checkpoint()))
    assert now[1]["training"] == then[1]["training"]
    assert now[1]["format"] == then[1]["format"]
    assert keys(now[1]["position"]) == keys(then[1]["position"])
    assert {key: (array.dtype, array.shape) for key, array in now[0].items()} == {
        key: (array.dtype, array.shape) for key, array in then[0].items()
    }


LATER: dict[str, Change] = {
    "a key": lambda fields: fields.update(licence="MIT"),
    "a key of a layer": lambda fields: [layer.update(init_std=1.0) for layer in fields["layers"]],
    "a key of the metrics": lambda fields: fields["metrics"].update(seconds=1.0),
    "a field of the specification": lambda fields: fields["spec"].update(lookahead=0.1),
    "a field of the model": lambda fields: fields["spec"]["model"].update(attention={"heads": 1}),
    "a field of the optimizer": lambda fields: fields["spec"]["optimizer"].update(amsgrad=False),
    "a field of the data": lambda fields: fields["spec"]["data"].update(sampling={}),
}
EARLIER: dict[str, Change] = {
    "no activation of a layer": lambda fields: fields["layers"][0].pop("activation", None),
    "no rates": lambda fields: [fields["metrics"].pop(key) for key in ("dropout_rates", "input_dropout_rate")],
    "no threads": lambda fields: fields["spec"].pop("threads"),
    "no initializer": lambda fields: fields["spec"]["model"].pop("initializer"),
}


@each_training
@pytest.mark.parametrize("change", {**LATER, **EARLIER})
def test_a_model_with_a_key_more_or_less_is_the_same(name: str, change: str):
    arrays, fields = unpack(stored_model(name), pointer="")
    (LATER | EARLIER)[change](fields)
    model = artifact.load(pack(arrays, fields))
    expected = artifact.load(stored_model(name))
    assert model.spec == expected.spec
    assert model.layers == expected.layers
    if change != "no rates" or "schedule" not in json.dumps(SPECS[name]):
        assert_predicts_as_then(model, name)


def rewritten(data: bytes, change: Change) -> bytes:
    """A checkpoint whose description was changed by who wrote it."""
    arrays, fields = unpack(data, pointer="")
    del fields["digest"]
    change(fields)
    return pack(arrays, {**fields, "digest": checkpoint._digest(fields, arrays)})


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda fields: fields.update(host="h"), id="a key"),
        pytest.param(lambda fields: fields["position"].update(tokens=1), id="a key of the position"),
        pytest.param(lambda fields: fields["position"]["metrics"].update(seconds=1.0), id="a key of the metrics"),
        pytest.param(lambda fields: fields["position"]["metrics"].pop("dropout_rates"), id="no rates"),
        pytest.param(lambda fields: fields.pop("training"), id="no digest of version 0.1.0"),
    ],
)
def test_a_checkpoint_with_a_key_more_or_less_goes_on(change: Change):
    trainer = Trainer(training_spec("standard"), training_data("standard"))
    list(trainer.run(lambda: trainer.step == stored_trainings.STOP_STEP))
    resumed = finished("standard", rewritten(trainer.checkpoint(), change))
    assert resumed.weights_digest == finished("standard").weights_digest


def test_what_an_unknown_field_of_the_specification_changes_is_not_gone_on_with():
    """It is there because it is no default: whoever wrote it trained otherwise."""
    trainer = Trainer(training_spec("standard"), training_data("standard"))
    list(trainer.run(lambda: trainer.step == stored_trainings.STOP_STEP))
    other = rewritten(trainer.checkpoint(), lambda fields: fields["identity"]["spec"].update(label_smoothing=0.1))
    with pytest.raises(InvalidInputError, match=r"another specification \(`label_smoothing`\)$"):
        finished("standard", other)


def test_what_this_version_cannot_read_is_told_in_a_sentence_with_the_version_that_wrote_it(
    monkeypatch: pytest.MonkeyPatch,
):
    arrays, fields = unpack(stored_model("standard"), pointer="")
    monkeypatch.setattr(tensors, "__version__", "9.8.7")
    later = {
        "format": pack(arrays, fields | {"format": artifact.FORMAT + 1}),
        "layer": pack(arrays, fields | {"layers": [{"kind": "attention"}, *fields["layers"][1:]]}),
        "specification": pack(arrays, fields | {"spec": fields["spec"] | {"version": 9}}),
        "value": pack(arrays, fields | {"spec": fields["spec"] | {"optimizer": {"kind": "lion"}}}),
    }
    taken = rewritten(stored_checkpoint("standard"), lambda fields: fields.update(format=7))
    monkeypatch.undo()
    by = f"; it was written by version 9.8.7, this is {__version__}"
    told: dict[str, str] = {}
    for what, data in later.items():
        with pytest.raises(InvalidInputError) as caught:
            artifact.load(data)
        told[what] = caught.value.message
    with pytest.raises(InvalidInputError) as caught:
        finished("standard", taken)
    assert caught.value.message == f"checkpoint format 7; this version reads 2{by}"
    assert told["format"] == f"model format {artifact.FORMAT + 1}; this version reads up to {artifact.FORMAT}{by}"
    assert told["layer"] == f"this version has no layer of the kind 'attention'; there are {', '.join(LAYERS)}{by}"
    assert told["value"].startswith("Input tag 'lion'")
    assert told["value"].endswith(by)
    assert told["specification"].startswith("its specification has version 9 and was made by a later version")


def test_any_safetensors_reader_finds_the_version():
    data = artifact.dump(artifact.load(stored_model("standard")))
    assert tensors._metadata(data)["written_by"] == __version__
    assert set(safetensors.numpy.load(data)) == set(safetensors.numpy.load(stored_model("standard")))
