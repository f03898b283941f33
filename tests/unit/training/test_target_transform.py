"""Targets that are transformed, from the data to a prediction."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dropout_service.errors import InvalidInputError
from dropout_service.models import artifact
from dropout_service.models.prediction import predict
from dropout_service.training.data import TrainingData
from dropout_service.training.target_transform import MAX_KNOTS, TargetTransform
from dropout_service.training.tensors import pack, unpack
from dropout_service.training.trainer import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable

    from dropout_service.training.spec import TrainingSpec
    from dropout_service.training.trained import TrainedModel

KINDS = ("log", "log1p", "quantile")
each_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def prices() -> TrainingData:
    """Three features of 400 rows, whose effects on a price multiply, with noise that does."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((400, 3))
    y = np.exp(x @ [1.0, -0.7, 0.4] + 0.2 * rng.standard_normal(400)) * 1000
    return TrainingData(x, y, ("a", "b", "c"), "price", None)


def fitted(kind: Any, y: np.ndarray[Any, Any]) -> TargetTransform:
    table = y.reshape(len(y), -1)
    return TargetTransform.fit(kind, table, np.arange(len(y)), names=[f"y{k}" for k in range(table.shape[1])])


def trained(spec: TrainingSpec, data: TrainingData) -> TrainedModel:
    trainer = Trainer(spec, data)
    list(trainer.run())
    return trainer.finish()


@each_kind
@pytest.mark.parametrize("targets", [1, 3])
def test_a_transform_rises_and_is_undone(kind: str, targets: int):
    y = np.exp(3 * np.random.default_rng(2).standard_normal((5000, targets)))
    transform = fitted(kind, y)
    again = TargetTransform.from_json(transform.to_json(), targets=targets)
    z = again.apply(y)
    assert z.shape == y.shape
    np.testing.assert_allclose(again.invert(z), y, rtol=1e-9)
    assert (np.diff(np.take_along_axis(z, y.argsort(axis=0), axis=0), axis=0) >= 0).all()
    wild = np.full((2, targets), 1e30)
    assert np.isfinite(again.invert(wild) ** 4).all(), "a prediction may be wrong, and has a figure all the same"


def test_ranks_become_normal_scores():
    """Of 20,000 numbers of a heavy tail: moments and quantiles of N(0, 1), and a bounded number of knots."""
    y = np.random.default_rng(3).standard_cauchy(20_000)
    transform = fitted("quantile", y)
    assert transform.knots[0].shape[1] <= MAX_KNOTS
    z = transform.apply(y)
    assert abs(z.mean()) < 0.01
    assert abs(z.std() - 1) < 0.01
    np.testing.assert_allclose(np.quantile(z, [0.025, 0.5, 0.975]), [-1.96, 0, 1.96], atol=0.02)
    beyond = transform.invert(np.array([-9.0, 9.0]))
    np.testing.assert_array_equal(beyond, [y.min(), y.max()])


def test_equal_targets_share_a_score():
    transform = fitted("quantile", np.array([0.0] * 50 + [1.0] * 25 + [2.0] * 25))
    low, middle, high = transform.apply(np.array([0.0, 1.0, 2.0]))
    assert low < middle < high
    assert low == pytest.approx(-0.67, abs=0.02), "the middle of the lower half"
    np.testing.assert_array_equal(fitted("quantile", np.full(9, 7.0)).invert(np.array([-3.0, 3.0])), [7, 7])


@each_kind
def test_predictions_and_figures_are_in_the_unit_of_the_target(
    prices: TrainingData, make_spec: Callable[..., TrainingSpec], kind: str
):
    """Effects that multiply are learned with less error than without; figures are those of the rows held out."""
    fields: dict[str, Any] = {"model": {"hidden": [16], "dropout": 0}, "epochs": 60, "batch_size": 32, "seed": 5}
    plain = trained(make_spec(**fields), prices)
    trainer = Trainer(make_spec(target_transform=kind, **fields), prices)
    list(trainer.run())
    model = trainer.finish()
    assert set(model.metrics.train) == {"loss"}
    assert model.metrics.validation["mae"] < 0.9 * plain.metrics.validation["mae"]
    held_out = trainer._plans[0].parts.validation
    error = predict(model, prices.x[held_out]).values - prices.y[held_out]
    assert model.metrics.validation["mae"] == pytest.approx(np.abs(error).mean(), rel=1e-4)
    assert model.metrics.validation["rmse"] == pytest.approx(np.sqrt((error**2).mean()), rel=1e-4)


@pytest.mark.parametrize("kind", ["log", "quantile"])
@pytest.mark.parametrize("loss", ["quantile", "gaussian_nll"])
def test_what_is_said_of_the_spread_holds_for_new_rows(make_spec: Callable[..., TrainingSpec], kind: str, loss: str):
    """A lognormal target of one distribution: its quantiles within 0.04 in level, its deviation within a tenth."""
    rng = np.random.default_rng(6)
    deviation = 0.5
    x, y = rng.standard_normal((4000, 1)), np.exp(deviation * rng.standard_normal(4000))
    data = TrainingData(x, y, ("a",), "y", None)
    fields: dict[str, Any] = {
        "model": {"hidden": []},
        "optimizer": {"kind": "adam", "learning_rate": 0.02},
        "schedule": {"kind": "cosine"},
        "epochs": 30,
        "batch_size": 64,
        "validation_fraction": 0,
    }
    prediction = predict(trained(make_spec(loss=loss, target_transform=kind, **fields), data), x[:500])
    new = np.exp(deviation * rng.standard_normal((20_000, 1)))
    assert (new < prediction.values).mean() == pytest.approx(0.5, abs=0.04), "values are medians"
    if loss == "quantile":
        for place, level in enumerate(prediction.quantile_levels):
            assert (new < prediction.quantiles[:, place]).mean() == pytest.approx(level, abs=0.04)
    else:
        true = np.sqrt(np.expm1(deviation**2)) * np.exp(deviation**2 / 2)
        assert np.median(prediction.aleatoric_std) == pytest.approx(true, rel=0.1)


@each_kind
@pytest.mark.parametrize("loss", ["squared_error", "gaussian_nll", "quantile"])
@pytest.mark.parametrize("held_out", ["shared", "own"])
def test_a_stored_ensemble_of_several_targets(
    prices: TrainingData, make_spec: Callable[..., TrainingSpec], kind: str, loss: str, held_out: str
):
    data = replace(prices, y=np.stack([prices.y, 1 / prices.y], axis=1), target_name="y, z", target_names=("y", "z"))
    network = {"hidden": [4], "dropout": 0.2, "ensemble": {"members": 2, "held_out": held_out}}
    model = trained(make_spec(loss=loss, target_transform=kind, model=network, epochs=2), data)
    assert {"loss", "rmse.y", "mae.y", "rmse.z", "mae.z"} == set(model.metrics.validation)
    again = artifact.load(artifact.dump(model))
    ours, theirs = (predict(one, data.x, mc_samples=3) for one in (model, again))
    assert ours.std.shape == (400, 2)
    assert (ours.std > 0).all()
    np.testing.assert_array_equal(ours.values, theirs.values)
    np.testing.assert_array_equal(ours.std, theirs.std)


def test_resumed_it_ends_the_same(prices: TrainingData, make_spec: Callable[..., TrainingSpec]):
    spec = make_spec(target_transform="quantile", epochs=3, early_stopping={"patience": 2}, batch_size=128)
    straight = trained(spec, prices)
    first = Trainer(spec, prices)
    next(first.run())
    second = Trainer(spec, prices, resume=first.checkpoint())
    list(second.run())
    assert second.finish().weights_digest == straight.weights_digest
    assert second.finish().metrics == straight.metrics
    with pytest.raises(InvalidInputError, match="target_transform"):
        Trainer(spec.model_copy(update={"target_transform": "log"}), prices, resume=first.checkpoint())


@pytest.mark.parametrize(("kind", "value"), [("log", 0.0), ("log", -2.0), ("log1p", -1.0), ("log", 1e200)])
def test_a_value_without_logarithm_is_told_with_its_row(
    prices: TrainingData, make_spec: Callable[..., TrainingSpec], kind: str, value: float
):
    y = prices.y.copy()
    y[6] = value
    told = re.escape(f"row 7 of those with a target: `price` has the value {value:g};")
    with pytest.raises(InvalidInputError, match=told) as caught:
        Trainer(make_spec(target_transform=kind), replace(prices, y=y))
    assert caught.value.errors[0].pointer == "/data/target"


def test_classes_are_not_transformed(make_spec: Callable[..., TrainingSpec]):
    with pytest.raises(ValueError, match="numbers of a regression"):
        make_spec(task="classification", target_transform="log")


@pytest.mark.parametrize(
    "changed",
    [
        None,
        {"kind": "log", "knots": []},
        {"kind": "quantile", "knots": []},
        {"kind": "cube root", "knots": []},
        {"kind": "quantile", "knots": [[[1.0, 2.0], [0.0]]]},
        {"kind": "quantile", "knots": [[[2.0, 1.0], [0.0, 1.0]]]},
        {"kind": "quantile", "knots": [[[], []]]},
        {"kind": "quantile", "knots": [[[1.0]]]},
    ],
)
def test_a_damaged_transform_is_refused(
    prices: TrainingData, make_spec: Callable[..., TrainingSpec], changed: dict[str, Any] | None
):
    model = trained(make_spec(target_transform="quantile", epochs=1), prices)
    tensors, fields = unpack(artifact.dump(model), pointer="/artifact")
    with pytest.raises(InvalidInputError) as caught:
        artifact.load(pack(tensors, {**fields, "target_transform": changed}))
    assert caught.value.errors[0].pointer.startswith("/artifact/target_transform")
