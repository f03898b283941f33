"""Several networks as one training: each as if it were alone, resumable, and a prediction that is their mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dropout_service.budgets import Budgets
from dropout_service.errors import InvalidInputError, OverBudgetError
from dropout_service.models import artifact
from dropout_service.models.prediction import predict
from dropout_service.nn.mode import member_seed
from dropout_service.training.check import check_size
from dropout_service.training.plan import MemberPlan
from dropout_service.training.split import Split, split
from dropout_service.training.trainer import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dropout_service.training.data import TrainingData
    from dropout_service.training.member import Member
    from dropout_service.training.spec import TrainingSpec

COMPILED = {"hidden": [6, 5], "dropout": 0.3}
LAYERED = {"hidden": [6, 5], "dropout": {"variant": "gaussian", "rate": 0.3}}


def trained(
    spec: TrainingSpec, data: TrainingData, members: Sequence[MemberPlan] | None = None, **options: Any
) -> Trainer:
    trainer = Trainer(spec, data, members)
    for _ in trainer.run(**options):
        pass
    return trainer


def alone(spec: TrainingSpec, data: TrainingData, number: int) -> Member:
    """Train the member of an ensemble by itself, on the ensemble's rows."""
    parts = split(data, spec.validation_fraction, seed=spec.seed)
    plan = MemberPlan(spec.model_copy(update={"seed": member_seed(spec.seed, number)}), parts)
    (member,) = trained(spec, data, [plan]).members
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
    losses = [member.metrics.validation["loss"] for member in trainer.members]
    assert model.metrics.validation["loss"] == pytest.approx(np.mean(losses))
    for number, (member, part) in enumerate(zip(trainer.members, parts, strict=True)):
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


def differing(spec: TrainingSpec, data: TrainingData) -> list[MemberPlan]:
    """Return networks of one shape that differ in all that may differ."""
    even = np.arange(0, len(data.y), 2)
    parts = Split(even, even + 1)
    return [
        MemberPlan(spec, parts),
        MemberPlan(spec.model_copy(update={"seed": 9, "batch_size": 5, "epochs": 5}), parts),
        MemberPlan(with_fields(spec, optimizer={"learning_rate": 0.02}), Split(even + 1, even)),
        MemberPlan(with_fields(spec, model={"dropout": 0.1}, schedule={"kind": "cosine"}, clip_norm=0.5), parts),
    ]


def with_fields(spec: TrainingSpec, **fields: Any) -> TrainingSpec:
    written = spec.model_dump()
    for name, value in fields.items():
        written[name] = {**written[name], **value} if isinstance(value, dict) else value
    return type(spec).model_validate(written)


@pytest.mark.parametrize("model", [COMPILED, LAYERED], ids=["compiled", "layered"])
@pytest.mark.parametrize("threads", [1, 2])
def test_networks_that_differ_train_side_by_side_as_alone(
    make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec], model: dict[str, Any], threads: int
):
    data = make_data(classes=3)
    spec = make_spec(task="classification", model=model, epochs=8, threads=threads, early_stopping={"patience": 3})
    plans = differing(spec, data)
    side_by_side = trained(spec, data, plans, every_s=0.01)
    for plan, member in zip(plans, side_by_side.members, strict=True):
        # Their columns are encoded together: those of every row, where not all are trained on the same
        other = MemberPlan(plan.spec, Split(plan.parts.validation, plan.parts.train))
        by_itself, _ = trained(spec, data, [plan, other]).members
        for name, array in by_itself.kept.items():
            np.testing.assert_array_equal(member.kept[name], array)
        assert member.metrics == by_itself.metrics
    assert len({member.metrics.train["loss"] for member in side_by_side.members}) == len(plans)


def test_networks_that_differ_go_on_where_they_were_interrupted(
    make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec]
):
    data, spec = make_data(), make_spec(model=COMPILED, epochs=4)
    plans = differing(spec, data)[:3]
    straight = trained(spec, data, plans)
    first = Trainer(spec, data, plans)
    steps = iter(range(7))
    for _ in first.run(lambda: next(steps, None) is None):
        pass
    resumed = Trainer(spec, data, plans, resume=first.checkpoint())
    for _ in resumed.run():
        pass
    for member, other in zip(resumed.members, straight.members, strict=True):
        for name, array in other.kept.items():
            np.testing.assert_array_equal(member.kept[name], array)
    with pytest.raises(InvalidInputError, match="another specification \\(`members`\\)"):
        Trainer(spec, data, plans[::-1], resume=first.checkpoint())


def test_networks_of_several_shapes_or_rates_are_no_ensemble(
    make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec]
):
    data, spec = make_data(), make_spec(model=COMPILED, epochs=1)
    parts = split(data, spec.validation_fraction, seed=spec.seed)
    wider = with_fields(spec, model={"hidden": [7, 5]})
    with pytest.raises(InvalidInputError, match="not that of the first network") as refused:
        Trainer(spec, data, [MemberPlan(spec, parts), MemberPlan(wider, parts)])
    assert refused.value.errors[0].pointer == "/members/1/model"
    other = with_fields(spec, model={"dropout": 0.1})
    with pytest.raises(RuntimeError, match="no ensemble"):
        trained(spec, data, [MemberPlan(spec, parts), MemberPlan(other, parts)]).finish()
