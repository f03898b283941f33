"""Several networks as one training: each as if it were alone, resumable, and a prediction that is their mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dropout_service.budgets import Budgets
from dropout_service.errors import InvalidInputError, OverBudgetError
from dropout_service.models import artifact
from dropout_service.models.prediction import predict
from dropout_service.training.check import check_size
from dropout_service.training.ensemble import member_seed
from dropout_service.training.member import Member
from dropout_service.training.networks import build_loss, build_network
from dropout_service.training.preparation import fit_encoders, prepare
from dropout_service.training.split import split
from dropout_service.training.trainer import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable

    from dropout_service.training.data import TrainingData
    from dropout_service.training.spec import TrainingSpec

COMPILED = {"hidden": [6, 5], "dropout": 0.3}
LAYERED = {"hidden": [6, 5], "dropout": {"variant": "gaussian", "rate": 0.3}}


def trained(spec: TrainingSpec, data: TrainingData, **options: Any) -> Trainer:
    trainer = Trainer(spec, data)
    for _ in trainer.run(**options):
        pass
    return trainer


def alone(spec: TrainingSpec, data: TrainingData, number: int) -> Member:
    """Train the member of an ensemble by itself, on the ensemble's rows."""
    parts = split(data, spec.validation_fraction, seed=spec.seed)
    encoders = fit_encoders(spec, data, parts.train)
    loss = build_loss(spec, "squared_error")
    member = Member(
        spec,
        build_network(spec, encoders.width, 1),
        prepare(spec, data, parts, encoders),
        loss=loss,
        validation_loss=loss,
        seed=member_seed(spec.seed, number),
        target_scales={"y": 1.0},
    )
    while not member.ended:
        member.take(member.steps_per_epoch)
        member.close_epoch(out_of_time=False)
    return member


@pytest.mark.parametrize("model", [COMPILED, LAYERED], ids=["compiled", "layered"])
@pytest.mark.parametrize("stopping", [None, {"patience": 1}])
def test_each_member_is_the_network_that_it_is_alone(
    make_data: Callable[..., TrainingData],
    make_spec: Callable[..., TrainingSpec],
    model: dict[str, Any],
    stopping: dict[str, Any] | None,
):
    data = make_data()
    spec = make_spec(model=model | {"ensemble": {"members": 3}}, epochs=12, early_stopping=stopping)
    together = trained(spec, data).finish()
    for number in range(3):
        for name, array in alone(spec, data, number).kept.items():
            np.testing.assert_array_equal(together.params[name][number], array)
    single = trained(make_spec(model=model, epochs=12, early_stopping=stopping), data).finish()
    for name, array in single.params.items():
        np.testing.assert_array_equal(together.params[name][0], array)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_members_with_parts_of_their_own_train_on_other_rows(
    make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec], task: str
):
    """A row without a bearing on the rest is trained on by some, and held out by others."""
    data = make_data(rows=60, classes=2 if task == "classification" else 0)
    ensemble = {"members": 6, "held_out": "own"}
    spec = make_spec(
        task=task,
        model=COMPILED | {"ensemble": ensemble},
        early_stopping={"patience": 2},
        epochs=8,
        class_weights="balanced" if task == "classification" else None,
    )
    trainer = trained(spec, data)
    model = trainer.finish()
    parts = [split(data, 0.2, seed=member_seed(spec.seed, number)).validation for number in range(6)]
    assert len({part.tobytes() for part in parts}) == 6
    assert trained(spec, data, every_s=1.0).finish().weights_digest == model.weights_digest
    losses = [member.metrics.validation["loss"] for member in trainer._members]
    assert model.metrics.validation["loss"] == pytest.approx(np.mean(losses))
    for number, (member, part) in enumerate(zip(trainer._members, parts, strict=True)):
        np.testing.assert_array_equal(np.sort(member._order), np.setdiff1d(np.arange(60), part), str(number))
    middle = Trainer(spec, data)
    for _ in middle.run(lambda: middle.step == 5):
        pass
    resumed = Trainer(spec, data, resume=middle.checkpoint())
    for _ in resumed.run():
        pass
    assert resumed.finish().weights_digest == model.weights_digest


def test_members_differ(make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec]):
    weights = trained(make_spec(model=COMPILED | {"ensemble": {"members": 4}}), make_data()).finish().params
    first = weights["layers.0.weight"]
    assert len({one.tobytes() for one in first}) == 4
    assert len({member_seed(3, number) for number in range(64)}) == 64
    assert all(0 <= member_seed(3, number) < 1 << 53 for number in range(64))


@pytest.mark.parametrize("model", [COMPILED, LAYERED], ids=["compiled", "layered"])
def test_threads_and_the_length_of_calls_change_nothing(
    make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec], model: dict[str, Any]
):
    data, fields = make_data(), {"model": model | {"ensemble": {"members": 5}}, "early_stopping": {"patience": 1}}
    one = trained(make_spec(**fields), data).finish().weights_digest
    assert trained(make_spec(**fields), data, every_s=0.5).finish().weights_digest == one
    assert trained(make_spec(**fields, threads=3), data, every_s=0.5).finish().weights_digest == one


def test_many_short_epochs_end(make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec]):
    """However fast a call is, the next takes no more steps than an epoch has."""
    trainer = trained(make_spec(epochs=700, batch_size=40, model={"hidden": [2]}), make_data(), every_s=1e6)
    assert trainer.step == 700


def test_an_interrupted_ensemble_ends_as_an_uninterrupted_one(
    make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec]
):
    data = make_data()
    spec = make_spec(model=COMPILED | {"ensemble": {"members": 3}}, early_stopping={"patience": 1}, epochs=9)
    whole = trained(spec, data)
    for stop in range(1, whole.step):
        first = Trainer(spec, data)
        for _ in first.run(lambda first=first, stop=stop: first.step == stop):
            pass
        second = Trainer(spec, data, resume=first.checkpoint())
        for _ in second.run():
            pass
        assert second.stop_reason == whole.stop_reason
        assert second.finish().weights_digest == whole.finish().weights_digest


def test_a_checkpoint_of_another_number_of_members_is_refused(
    make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec]
):
    data = make_data()
    state = trained(make_spec(model=COMPILED | {"ensemble": {"members": 3}}), data).checkpoint()
    with pytest.raises(InvalidInputError, match="specification"):
        Trainer(make_spec(model=COMPILED | {"ensemble": {"members": 4}}), data, resume=state)


@pytest.mark.parametrize("classes", [0, 2, 3])
def test_a_prediction_is_the_mean_of_the_members(
    make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec], classes: int
):
    data = make_data(classes=classes)
    spec = make_spec(task="classification" if classes else "regression", model=COMPILED | {"ensemble": {"members": 3}})
    model = artifact.load(artifact.dump(trained(spec, data).finish()))
    assert artifact.description(model)["format"] == 3
    found = predict(model, data.x)
    x = model.encoders.encode(data.x, data.texts, overflow=AssertionError)
    outputs = np.stack([network.forward(x).astype(np.float64) for network in model.networks()])
    if not classes:
        values = outputs[..., 0] * model.target_scaling.scale + model.target_scaling.mean
        np.testing.assert_allclose(found.values, values.mean(axis=0), rtol=1e-6)
        np.testing.assert_allclose(found.std, values.std(axis=0), rtol=1e-5)
        return
    if classes == 2:
        of_one = 1 / (1 + np.exp(-outputs[..., 0]))
        probabilities = np.stack([1 - of_one, of_one], axis=-1)
    else:
        powers = np.exp(outputs)
        probabilities = powers / powers.sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(found.probabilities, probabilities.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found.probabilities_std, probabilities.std(axis=0), rtol=1e-4, atol=1e-7)
    assert (found.mutual_information >= 0).all()


def test_samples_of_members_are_all_passes(
    make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec]
):
    """Ten members with their samples have more spread than the members without, and other masks each."""
    data = make_data()
    spec = make_spec(model={"hidden": [6], "dropout": 0.5, "ensemble": {"members": 2}}, epochs=1)
    model = trained(spec, data).finish()
    plain, sampled = predict(model, data.x), predict(model, data.x, mc_samples=50, seed=1)
    assert sampled.std.mean() > plain.std.mean()
    again = predict(model, data.x, mc_samples=50, seed=1)
    np.testing.assert_array_equal(sampled.values, again.values)


def test_the_metrics_of_the_result_are_those_of_the_mean(
    make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec]
):
    data = make_data(rows=300, classes=3)
    spec = make_spec(task="classification", model=COMPILED | {"ensemble": {"members": 4}}, epochs=6)
    trainer = trained(spec, data)
    model = trainer.finish()
    held_out = split(data, spec.validation_fraction, seed=spec.seed).validation
    probabilities = predict(model, data.x[held_out]).probabilities
    right = probabilities[np.arange(held_out.size), data.y[held_out]]
    assert model.metrics.validation["loss"] == pytest.approx(-np.log(right).mean(), rel=1e-5)
    assert model.metrics.validation["accuracy"] == (probabilities.argmax(axis=1) == data.y[held_out]).mean()


@pytest.mark.parametrize("members", [0, 1, 65])
def test_a_number_of_members_out_of_range_is_refused(make_spec: Callable[..., TrainingSpec], members: int):
    with pytest.raises(ValueError, match="members"):
        make_spec(model={"ensemble": {"members": members}})


def test_parts_of_their_own_need_a_validation_part(make_spec: Callable[..., TrainingSpec]):
    with pytest.raises(ValueError, match="set validation_fraction above 0"):
        make_spec(model={"ensemble": {"members": 2, "held_out": "own"}}, validation_fraction=0)


@pytest.mark.parametrize("budget", ["parameters", "activations"])
def test_all_members_count_against_the_budgets(make_spec: Callable[..., TrainingSpec], budget: str):
    """A layer of 10 units behind 3 inputs, and one behind these: 40 and 11 numbers, and 11 values of each row."""
    spec = make_spec(model={"hidden": [10], "ensemble": {"members": 5}})
    needed = 5 * (51 if budget == "parameters" else 1024 * 11)
    check_size(spec, inputs=3, outputs=1, rows=100, budgets=Budgets(**{budget: needed}))
    with pytest.raises(OverBudgetError):
        check_size(spec, inputs=3, outputs=1, rows=100, budgets=Budgets(**{budget: needed - 1}))
