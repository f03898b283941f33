"""Members that share weights as one training: one decision to stop, resumable, stored, and a mean with its spread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dropout_service.budgets import Budgets
from dropout_service.errors import InvalidInputError, OverBudgetError, TrainingError
from dropout_service.models import artifact
from dropout_service.models.prediction import predict
from dropout_service.nn.mode import Mode, member_seed
from dropout_service.training.check import check_size, check_spec
from dropout_service.training.plan import MemberPlan
from dropout_service.training.split import split
from dropout_service.training.stored import read_spec, write_spec
from dropout_service.training.trainer import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable

    from dropout_service.training.data import TrainingData
    from dropout_service.training.spec import TrainingSpec

SHARED = {"ensemble": {"members": 3, "share": True}}
HIDDEN = {"hidden": [6, 5], "dropout": 0.3}
BINS = {"layers": [{"kind": "piecewise_linear", "bins": 4, "units": 2}, {"kind": "dense", "units": 6, "dropout": 0.3}]}
CONCRETE = {"hidden": [6, 5], "dropout": {"variant": "concrete", "rate": 0.2}}


def trained(spec: TrainingSpec, data: TrainingData, **options: Any) -> Trainer:
    trainer = Trainer(spec, data)
    for _ in trainer.run(**options):
        pass
    return trainer


@pytest.mark.parametrize("model", [HIDDEN, BINS, CONCRETE], ids=["hidden", "bins", "concrete"])
def test_an_interrupted_training_ends_as_an_uninterrupted_one(
    make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec], model: dict[str, Any]
):
    data = make_data()
    spec = make_spec(model=model | SHARED, early_stopping={"patience": 1}, epochs=6)
    whole = trained(spec, data)
    digest = whole.finish().weights_digest
    for stop in range(1, whole.step):
        first = Trainer(spec, data)
        for _ in first.run(lambda first=first, stop=stop: first.step == stop):
            pass
        second = Trainer(spec, data, resume=first.checkpoint())
        for _ in second.run():
            pass
        assert second.stop_reason == whole.stop_reason
        assert second.finish().weights_digest == digest


@pytest.mark.parametrize("classes", [0, 2, 3])
def test_its_figures_are_those_of_the_mean_prediction(
    make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec], classes: int
):
    data = make_data(rows=200, classes=classes)
    task = "classification" if classes else "regression"
    trainer = trained(make_spec(task=task, model=BINS | SHARED, early_stopping={"patience": 2}, epochs=12), data)
    (member,) = trainer.members
    model = trainer.finish()
    held_out = split(data, 0.2, seed=3).validation
    found = predict(model, data.x[held_out])
    validation = model.metrics.validation
    assert validation == member.position.best.validation
    if classes:
        right = found.probabilities[np.arange(held_out.size), data.y[held_out]]
        assert validation["loss"] == pytest.approx(-np.log(right).mean(), rel=1e-5)
        assert validation["accuracy"] == (found.probabilities.argmax(axis=1) == data.y[held_out]).mean()
        assert (found.mutual_information > 0).all()
    else:
        assert validation["rmse"] == pytest.approx(np.sqrt(np.mean((found.values - data.y[held_out]) ** 2)), rel=1e-5)
        assert (found.std > 0).all()


@pytest.mark.parametrize("model", [HIDDEN, BINS, CONCRETE], ids=["hidden", "bins", "concrete"])
@pytest.mark.parametrize("transform", ["identity", "log"])
def test_a_stored_model_predicts_as_its_members_do(
    make_data: Callable[..., TrainingData],
    make_spec: Callable[..., TrainingSpec],
    model: dict[str, Any],
    transform: str,
):
    data, spec = make_data(), make_spec(model=model | SHARED, epochs=2, target_transform=transform)
    kept = trained(spec, data).finish()
    file = artifact.dump(kept)
    loaded = artifact.load(file)
    assert artifact.dump(loaded) == file
    described = artifact.description(loaded)
    assert (described["format"], described["spec"]["version"]) == (5, 6)
    first = "layers.1" if model is BINS else "layers.0"
    units, inputs = 6, 8 if model is BINS else 4
    shapes = {name: tensor.shape for name, tensor in loaded.params.items() if name.startswith(first)}
    shapes.pop(f"{first}.rate_logit", None)
    assert shapes == {
        f"{first}.weight": (inputs, units),
        f"{first}.input_adapter": (3 * inputs,),
        f"{first}.output_adapter": (3 * units,),
        f"{first}.bias": (3 * units,),
    }
    x = loaded.encoders.encode(data.x, data.texts, overflow=AssertionError)
    outputs = np.stack([network.forward(x).astype(np.float64) for network in loaded.networks()])[..., 0]
    unit = loaded.targets.unit
    np.testing.assert_allclose(predict(loaded, data.x).values, unit.values(outputs.mean(axis=0)), rtol=1e-5)
    sampled = predict(loaded, data.x, mc_samples=4, seed=9)
    passes = [
        network.forward(x, Mode.monte_carlo(member_seed(9, number), sample)).astype(np.float64)[:, 0]
        for number, network in enumerate(loaded.networks())
        for sample in range(4)
    ]
    np.testing.assert_allclose(sampled.values, unit.values(np.mean(passes, axis=0)), rtol=1e-5)
    np.testing.assert_array_equal(sampled.values, predict(kept, data.x, mc_samples=4, seed=9).values)


def test_it_learns(make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec]):
    data = make_data(rows=200)
    trainer = Trainer(make_spec(model=HIDDEN | {"dropout": 0.1} | SHARED, epochs=60, schedule={"kind": "cosine"}), data)
    epochs = list(trainer.run())
    assert epochs[-1].validation["loss"] < 0.3 * epochs[0].validation["loss"]
    assert epochs[-1].train["loss"] < 0.5 * epochs[0].train["loss"]


def test_what_diverges_is_told(make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec]):
    spec = make_spec(model=HIDDEN | SHARED, optimizer={"kind": "sgd", "learning_rate": 1e3}, epochs=50)
    with pytest.raises(TrainingError, match="no longer finite"):
        trained(spec, make_data())


@pytest.mark.parametrize(
    ("model", "fields", "told"),
    [
        (HIDDEN | {"ensemble": {"members": 3, "share": True, "held_out": "own"}}, {}, "trained on the same rows"),
        (HIDDEN | SHARED, {"max_norm": 2.0}, "units of their own"),
    ],
)
def test_what_has_no_meaning_with_shared_weights_is_refused(
    make_spec: Callable[..., TrainingSpec], model: dict[str, Any], fields: dict[str, Any], told: str
):
    with pytest.raises(ValueError, match=told):
        make_spec(model=model, **fields)


@pytest.mark.parametrize(
    ("model", "pointer", "told"),
    [
        ({"hidden": []}, "/model/ensemble/share", "no hidden dense layer"),
        (
            {"layers": [{"kind": "dense", "units": 4}, {"kind": "batch_norm"}], "input_dropout": 0.1},
            "/model/layers/1/kind",
            "use `layer_norm`",
        ),
    ],
)
def test_layers_that_cannot_be_shared_are_refused(
    make_data: Callable[..., TrainingData],
    make_spec: Callable[..., TrainingSpec],
    model: dict[str, Any],
    pointer: str,
    told: str,
):
    spec = make_spec(model=model | SHARED)
    for refuse in (lambda: check_spec(spec, 4), lambda: Trainer(spec, make_data())):
        with pytest.raises(InvalidInputError, match=told) as refused:
            refuse()
        assert refused.value.errors[0].pointer == pointer


def test_only_what_shares_weights_needs_the_version_that_brought_it(make_spec: Callable[..., TrainingSpec]):
    apart, shared = (make_spec(model=HIDDEN | {"ensemble": {"share": share}}) for share in (False, True))
    assert write_spec(apart)["version"] == 4
    assert "share" not in write_spec(apart)["model"]["ensemble"]
    assert write_spec(shared)["version"] == 6
    assert read_spec(write_spec(shared)) == shared


def test_a_checkpoint_of_members_that_share_nothing_is_refused(
    make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec]
):
    data = make_data()
    state = trained(make_spec(model=HIDDEN | {"ensemble": {"members": 3}}), data).checkpoint()
    with pytest.raises(InvalidInputError, match="another specification"):
        Trainer(make_spec(model=HIDDEN | SHARED), data, resume=state)


def test_several_trainings_of_shared_weights_are_no_ensemble(
    make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec]
):
    data, spec = make_data(), make_spec(model=HIDDEN | SHARED, epochs=1)
    parts = split(data, spec.validation_fraction, seed=spec.seed)
    seeds = (spec.model_copy(update={"seed": seed}) for seed in (1, 2))
    trainer = Trainer(spec, data, [MemberPlan(one, parts) for one in seeds])
    assert len(list(trainer.run())) == 1
    with pytest.raises(RuntimeError, match="no ensemble"):
        trainer.finish()


def test_shared_weights_count_once_against_the_budgets(make_spec: Callable[..., TrainingSpec]):
    """The network that members take turns as counts too, for each thread, and the gradients of each eight of them."""
    spec = make_spec(model={"hidden": [10], "ensemble": {"members": 20, "share": True}}, threads=2)
    plain = 4 * 10 + 10 + 10 + 1
    shared = 4 * 10 + 20 * (4 + 10 + 10 + 10 + 1)
    enough = {"parameters": (2 + 3) * plain + shared, "activations": 2 * 1024 * 11}
    for budget, size in enough.items():
        check_size(spec, inputs=4, outputs=1, rows=40, budgets=Budgets(**{budget: size}))
        with pytest.raises(OverBudgetError):
            check_size(spec, inputs=4, outputs=1, rows=40, budgets=Budgets(**{budget: size - 1}))
