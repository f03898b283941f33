from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from dropout_service.training import stored
from dropout_service.training.spec import TrainingSpec
from dropout_service.training.stored import SPEC_VERSION, UnreadableSpec, read_spec, version_of, write_spec

BODY: dict[str, Any] = {
    "name": "digits",
    "task": "classification",
    "data": {"dataset": "sha256-4f2a"},
    "model": {"hidden": [8, 8], "dropout": [0.5, {"variant": "gaussian", "rate": 0.2, "schedule": {"kind": "linear"}}]},
    "optimizer": {"kind": "adamw"},
    "epochs": 7,
}
SPEC = TrainingSpec.model_validate(BODY)


def test_what_is_written_is_read():
    document = write_spec(SPEC)
    assert "version" not in document, "readers from before there were versions read it, too"
    assert version_of(document) == 1
    assert read_spec(document) == SPEC


@pytest.mark.parametrize(
    "change",
    [
        {"colour": "red"},
        {"data": {"dataset": "sha256-4f2a", "colour": "red"}},
        {"model": {**BODY["model"], "colour": {"deep": ["red"]}}},
        {"optimizer": {"kind": "adamw", "colour": "red"}},
        {
            "model": {
                "hidden": [8, 8],
                "dropout": [0.5, {**BODY["model"]["dropout"][1], "schedule": {"kind": "linear", "x": 1}}],
            }
        },
    ],
)
def test_fields_that_are_not_known_are_ignored_when_stored_and_refused_when_sent(change: dict[str, Any]):
    with pytest.raises(ValidationError):
        TrainingSpec.model_validate(BODY | change)
    assert read_spec(BODY | change) == SPEC


def test_fields_that_are_missing_have_their_defaults():
    document = {"task": "regression", "data": {"dataset": "sha256-4f2a"}}
    assert read_spec(document) == TrainingSpec.model_validate(document)


def test_one_of_a_later_version_is_left_to_that():
    later = read_spec({"version": SPEC_VERSION + 1, **BODY, "ensemble": {"members": 16}})
    assert isinstance(later, UnreadableSpec)
    assert (later.name, later.epochs) == ("digits", 7)
    assert later.reason.startswith(f"its specification has version {SPEC_VERSION + 1} and was made by a later version")


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (None, "damaged: it should be a JSON object"),
        ([], "damaged: it should be a JSON object"),
        ({}, "cannot be read: /task: Field required"),
        ({**BODY, "epochs": -3}, "cannot be read: /epochs: Input should be greater than or equal to 1"),
        ({**BODY, "version": "two"}, "made by a later version"),
        ({**BODY, "name": 7, "epochs": "many"}, "cannot be read: /name"),
    ],
)
def test_one_that_is_damaged_says_where(document: Any, reason: str):
    unreadable = read_spec(document)
    assert isinstance(unreadable, UnreadableSpec)
    assert reason in unreadable.reason


def test_a_field_that_came_later_raises_the_version_only_where_it_is_used(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stored, "SINCE", {("model", "residual"): 2, ("optimizer", "nesterov"): 3})
    assert version_of(write_spec(SPEC)) == 1
    residual = TrainingSpec.model_validate(BODY | {"model": {"hidden": [8, 8], "residual": True}})
    assert write_spec(residual)["version"] == 2
    assert version_of(write_spec(residual)) == 2


def test_a_word_that_came_later_raises_the_version_only_where_it_is_used(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stored, "SINCE", {("model", "layers", "kind", "dropout"): 3, ("loss", "gaussian_nll"): 4})
    dense, dropout = {"kind": "dense", "units": 8}, {"kind": "dropout", "dropout": 0.1}
    versions = [
        version_of(write_spec(TrainingSpec.model_validate(BODY | {"model": {"layers": layers}})))
        for layers in ([dense], [dense, dropout])
    ]
    assert versions == [1, 3]
    regression = {"task": "regression", "data": BODY["data"], "loss": "gaussian_nll"}
    assert version_of(write_spec(TrainingSpec.model_validate(regression))) == 4


@pytest.mark.parametrize(
    "fields",
    [
        {"loss": "huber"},
        {"loss": "quantile"},
        {"loss": "huber", "huber_delta": 2.0},
        {"data": {**BODY["data"], "target": ["height", "weight"]}},
        {"data": {**BODY["data"], "weight": "customers"}},
        {"model": {"hidden": [8], "activation": "mish"}},
        {"model": {"layers": [{"kind": "columns"}]}},
        {"task": "classification", "label_smoothing": 0.1},
        {"task": "classification", "class_weights": "balanced"},
    ],
)
def test_what_came_with_version_3_needs_it(fields: dict[str, Any]):
    spec = TrainingSpec.model_validate({"task": "regression", "data": BODY["data"]} | fields)
    document = write_spec(spec)
    assert document["version"] == 3
    assert read_spec(document) == spec
    one_target = {"task": "regression", "data": {**BODY["data"], "target": "height"}}
    assert version_of(write_spec(TrainingSpec.model_validate(one_target))) == 1


def test_layers_need_the_version_that_brought_them():
    model = {"layers": [{"kind": "dense", "units": 8}]}
    document = write_spec(TrainingSpec.model_validate(BODY | {"model": model}))
    assert document["version"] == 2
    assert read_spec(document) == TrainingSpec.model_validate(BODY | {"model": model})
