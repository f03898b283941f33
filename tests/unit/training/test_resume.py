"""An interrupted and resumed training ends as an uninterrupted one, to the last bit."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from dropout_specs import DROPOUTS, NOT_FOR_INPUTS, SCHEDULES, UNITS, model_with

from dropout_service.errors import InvalidInputError
from dropout_service.kernels.variants import VARIANTS
from dropout_service.training import checkpoint as checkpoints
from dropout_service.training import identity
from dropout_service.training.tensors import pack, unpack
from dropout_service.training.trainer import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable

    from dropout_service.training.data import TrainingData
    from dropout_service.training.spec import TrainingSpec

OPTIMIZERS = [
    {"kind": "sgd", "nesterov": True, "weight_decay": 0.01},
    {"kind": "adam", "learning_rate": 0.01},
    {"kind": "adamw", "learning_rate": 0.01},
]
SETTINGS = [
    {"task": "regression"},
    {"task": "regression", "loss": "gaussian_nll", "clip_norm": 0.5},
    {"task": "regression", "loss": "quantile", "quantiles": [0.2, 0.8]},
    {"task": "classification", "label_smoothing": 0.1, "class_weights": "balanced"},
    {"task": "classification", "early_stopping": {"patience": 2}},
    {"task": "classification", "loss": "cross_entropy", "max_norm": 1.0, "validation_fraction": 0},
]


def uninterrupted(spec: TrainingSpec, data: TrainingData):
    trainer = Trainer(spec, data)
    history = list(trainer.run())
    return trainer, history


def interrupted(spec: TrainingSpec, data: TrainingData, at: set[int]):
    """Train in as many attempts as needed, each ended by the steps in ``at`` and begun from a checkpoint."""
    checkpoint, history, attempts = None, [], 0
    while True:
        trainer = Trainer(spec, data, resume=checkpoint)
        history += trainer.run(lambda trainer=trainer, at=frozenset(at): trainer.step in at)
        attempts += 1
        if trainer.stop_reason is not None:
            return trainer, history, attempts
        at = at - {trainer.step}
        checkpoint = trainer.checkpoint()


def assert_same(spec: TrainingSpec, data: TrainingData, at: set[int]):
    straight, history = uninterrupted(spec, data)
    at = {step for step in at if step < straight.step}
    resumed, resumed_history, attempts = interrupted(spec, data, at)
    assert attempts == len(at) + 1
    assert resumed_history == history
    assert resumed.stop_reason == straight.stop_reason
    ours, theirs = resumed.finish(), straight.finish()
    assert ours.weights_digest == theirs.weights_digest
    assert ours.metrics == theirs.metrics


@pytest.mark.parametrize(
    "setting", SETTINGS, ids=lambda setting: "-".join(map(str, setting)) + setting.get("loss", setting["task"])
)
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda optimizer: optimizer["kind"])
def test_interrupted_at_every_step(
    make_data: Callable[..., TrainingData],
    make_spec: Callable[..., TrainingSpec],
    optimizer: dict[str, Any],
    setting: dict[str, Any],
):
    data = make_data(rows=26, classes=2 if setting["task"] == "classification" else 0)
    spec = make_spec(epochs=3, optimizer=optimizer, schedule={"kind": "cosine", "warmup_epochs": 1}, **setting)
    steps = uninterrupted(spec, data)[0].step
    for step in range(1, steps + 1):
        assert_same(spec, data, {step})
    assert_same(spec, data, set(range(1, steps + 1)))


@pytest.mark.parametrize("draw", range(3))
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda optimizer: optimizer["kind"])
def test_interrupted_at_random_steps_of_a_larger_training(
    make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec], optimizer: dict[str, Any], draw: int
):
    rng = random.Random(draw)  # noqa: S311 - any steps will do
    spec = make_spec(
        task="classification",
        epochs=12,
        batch_size=32,
        model={"hidden": [64, 48], "dropout": [0.5, 0.2], "input_dropout": 0.1, "activation": "gelu"},
        optimizer=optimizer,
        early_stopping={"patience": 3},
        seed=draw,
    )
    data = make_data(rows=500, features=20, classes=5)
    assert_same(spec, data, {rng.randrange(1, 150) for _ in range(6)})


SCHEDULED = [name for name, variant in VARIANTS.items() if not variant.needs_x]


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_interrupted_at_every_step(
    make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec], variant: str
):
    data = make_data(rows=26, features=UNITS)
    model = model_with(variant)
    if variant not in NOT_FOR_INPUTS:
        model["input_dropout"] = DROPOUTS[variant]
    spec = make_spec(epochs=3, model=model)
    steps = uninterrupted(spec, data)[0].step
    assert_same(spec, data, set(range(1, steps + 1)))


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("variant", SCHEDULED)
def test_every_variant_and_schedule_interrupted(
    make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec], variant: str, schedule: str
):
    data = make_data(rows=26, features=UNITS)
    spec = make_spec(epochs=4, model=model_with(variant, schedule), early_stopping={"patience": 3})
    steps = uninterrupted(spec, data)[0].step
    assert_same(spec, data, set(range(1, steps + 1, 2)))


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda optimizer: optimizer["kind"])
def test_a_learned_rate_is_resumed(
    make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec], optimizer: dict[str, Any]
):
    data = make_data(rows=26, features=UNITS, classes=2)
    spec = make_spec(task="classification", epochs=3, model=model_with("concrete"), optimizer=optimizer, clip_norm=1.0)
    straight, history = uninterrupted(spec, data)
    assert len({metrics.dropout_rates for metrics in history}) == 3, "the rates move"
    assert_same(spec, data, set(range(1, straight.step + 1)))


LAYER_LISTS: dict[str, list[dict[str, Any]]] = {
    "batch_norm": [
        {"kind": "scale"},
        {"kind": "dense", "units": 8, "activation": "linear"},
        {"kind": "batch_norm", "momentum": 0.7},
        {"kind": "activation", "activation": "mish", "parametric": True},
        {"kind": "dropout", "dropout": 0.3},
    ],
    "layer_norm": [{"kind": "dense", "units": 8, "activation": "silu", "dropout": 0.2}, {"kind": "layer_norm"}],
}


@pytest.mark.parametrize("rows", [26, 41])  # a last mini-batch of several rows, and of one
@pytest.mark.parametrize("name", LAYER_LISTS)
def test_layers_with_parameters_and_buffers_of_their_own_interrupted_at_every_step(
    make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec], name: str, rows: int
):
    data = make_data(rows=rows)
    spec = make_spec(
        epochs=3,
        model={"layers": LAYER_LISTS[name]},
        early_stopping={"patience": 2},
        validation_fraction=0.2,
        optimizer={"kind": "adamw"},
    )
    straight, _ = uninterrupted(spec, data)
    assert_same(spec, data, set(range(1, straight.step + 1)))
    model = straight.finish()
    assert all(np.isfinite(tensor).all() for tensor in model.tensors.values())


def test_a_checkpoint_may_be_taken_at_any_time_without_effect(
    make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec]
):
    spec, data = make_spec(), make_data()
    straight, history = uninterrupted(spec, data)
    trainer = Trainer(spec, data)
    last = []
    seen = []
    for metrics in trainer.run(lambda: last.append(trainer.checkpoint()) or False):
        seen.append(metrics)
        last.append(trainer.checkpoint())
    assert seen == history
    assert trainer.finish().weights_digest == straight.finish().weights_digest
    assert len(last) == trainer.step + spec.epochs


def test_a_run_may_go_on_in_the_same_trainer(
    make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec]
):
    spec, data = make_spec(), make_data()
    straight, history = uninterrupted(spec, data)
    trainer, seen = Trainer(spec, data), []
    while trainer.stop_reason is None:
        seen += trainer.run(lambda: trainer.step % 3 == 0)
    assert seen == history
    assert trainer.finish().weights_digest == straight.finish().weights_digest


def test_a_finished_training_resumes_as_finished(
    make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec]
):
    spec, data = make_spec(early_stopping={"patience": 5}), make_data()
    straight, _ = uninterrupted(spec, data)
    again = Trainer(spec, data, resume=straight.checkpoint())
    assert list(again.run()) == []
    assert again.stop_reason == "completed"
    assert again.finish().weights_digest == straight.finish().weights_digest


def test_a_time_limit_may_change_between_attempts(
    make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec]
):
    data, spec = make_data(), make_spec()
    trainer = Trainer(spec, data)
    list(trainer.run(lambda: True))
    again = Trainer(spec.model_copy(update={"max_runtime_s": 60.0}), data, resume=trainer.checkpoint())
    assert again.step == 1


@pytest.mark.parametrize(
    ("fields", "changed"),
    [
        ({"seed": 4}, "`seed`"),
        ({"epochs": 9, "threads": 2}, "`epochs`, `threads`"),
        ({"optimizer": {"kind": "sgd"}}, "`optimizer`"),
        ({"model": {"hidden": [6, 5], "dropout": 0.31}}, "`model`"),
    ],
)
def test_a_checkpoint_of_another_specification_is_refused(
    make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec], fields: Any, changed: str
):
    data = make_data()
    trainer = Trainer(make_spec(), data)
    list(trainer.run(lambda: True))
    with pytest.raises(InvalidInputError, match=rf"belongs to another specification \({changed}\)$"):
        Trainer(make_spec(**fields), data, resume=trainer.checkpoint())


def test_a_checkpoint_of_other_data_is_refused(
    make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec]
):
    data = make_data()
    trainer = Trainer(make_spec(), data)
    list(trainer.run(lambda: True))
    other = make_data()
    other.x[0, 0] += 1e-9
    with pytest.raises(InvalidInputError, match=r"belongs to other data$"):
        Trainer(make_spec(), other, resume=trainer.checkpoint())


def test_a_checkpoint_of_another_generator_is_refused(
    make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec], monkeypatch: pytest.MonkeyPatch
):
    # As after an upgrade: half of a training with each would be neither's.
    data = make_data()
    trainer = Trainer(make_spec(), data)
    list(trainer.run(lambda: True))
    checkpoint = trainer.checkpoint()
    monkeypatch.setattr(identity, "GENERATOR", "another")
    with pytest.raises(InvalidInputError, match=r"belongs to another generator \(.*, not another\)"):
        Trainer(make_spec(), data, resume=checkpoint)


def test_damaged_bytes_are_refused(make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec]):
    data, spec = make_data(), make_spec()
    trainer = Trainer(spec, data)
    list(trainer.run(lambda: True))
    whole = trainer.checkpoint()
    for damaged in (b"", whole[:-1], whole[:100], b"\0" * 100):
        with pytest.raises(InvalidInputError) as caught:
            Trainer(spec, data, resume=damaged)
        assert caught.value.errors[0].pointer == "/checkpoint"


def test_every_byte_is_under_the_digest(make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec]):
    data, spec = make_data(), make_spec()
    trainer = Trainer(spec, data)
    list(trainer.run(lambda: True))
    whole = trainer.checkpoint()
    for place in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        try:
            accepted = Trainer(spec, data, resume=bytes(damaged))
        except InvalidInputError:
            continue
        # A bit that means nothing, such as the case of a letter in an escape: then all is as it was.
        assert accepted.checkpoint() == whole


def rewritten(trainer: Trainer, change: Callable[[dict[str, Any], dict[str, Any]], object]) -> bytes:
    """The trainer's checkpoint after a change to its tensors and its description."""
    tensors, description = unpack(trainer.checkpoint(), pointer="/checkpoint")
    change(tensors, description)
    del description["digest"]
    return pack(tensors, {**description, "digest": checkpoints._digest(description, tensors)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda _, fields: fields.update(format=1), "format 1", id="format"),
        pytest.param(lambda tensors, _: tensors.pop("optimizer.mean"), "optimizer.mean", id="missing"),
        pytest.param(lambda tensors, _: tensors.update(params=np.zeros(3, np.float32)), "params", id="shape"),
        pytest.param(lambda _, fields: fields["position"].pop("metrics"), "position", id="no metrics"),
        pytest.param(lambda _, fields: fields["identity"].pop("data"), "identity is damaged", id="no data"),
        pytest.param(lambda _, fields: fields["position"].update(batch=99), "outside", id="batch"),
        pytest.param(lambda _, fields: fields["position"].update(epoch=99), "outside", id="epoch"),
        pytest.param(lambda _, fields: fields["position"].update(sums=[0.0]), "outside", id="sums"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(
    make_data: Callable[..., TrainingData],
    make_spec: Callable[..., TrainingSpec],
    change: Callable[[dict[str, Any], dict[str, Any]], object],
    message: str,
):
    data, spec = make_data(), make_spec()
    trainer = Trainer(spec, data)
    list(trainer.run(lambda: True))
    with pytest.raises(InvalidInputError, match=message):
        Trainer(spec, data, resume=rewritten(trainer, change))
