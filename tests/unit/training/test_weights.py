"""Weights of rows and classes, and smoothed labels, in a training."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from prepared import prepared

from dropout_service.errors import InvalidInputError
from dropout_service.models.prediction import predict
from dropout_service.training.columns import NumberEncoder
from dropout_service.training.trainer import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable

    from dropout_service.training.data import TrainingData
    from dropout_service.training.spec import TrainingSpec

ROWS = 60
STILL = {"optimizer": {"kind": "sgd", "learning_rate": 1e-30, "momentum": 0.0}, "epochs": 1}
"""A training that leaves the initial weights as they are."""


def trained(spec: TrainingSpec, data: TrainingData) -> Trainer:
    trainer = Trainer(spec, data)
    list(trainer.run())
    return trainer


def row_losses(spec: TrainingSpec, data: TrainingData) -> np.ndarray:
    """-log of the probability of each row's class."""
    probabilities = predict(trained(spec, data).finish(), data.x).probabilities
    return -np.log(probabilities[np.arange(len(data.y)), data.y])


@pytest.mark.parametrize("loss", ["squared_error", "huber", "gaussian_nll", "quantile", "cross_entropy"])
def test_a_weight_of_2_is_the_row_twice(
    make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec], loss: str
):
    classes = 3 if loss == "cross_entropy" else 0
    data = make_data(rows=ROWS, classes=classes)
    counts = np.random.default_rng(1).integers(0, 4, ROWS)
    repeated = replace(data, x=np.repeat(data.x, counts, axis=0), y=np.repeat(data.y, counts))
    weighted = replace(data, weights=2.5 * counts)
    spec = make_spec(
        task="classification" if classes else "regression",
        loss=loss,
        model={"hidden": [6], "dropout": 0, "activation": "tanh"},
        optimizer={"kind": "sgd", "learning_rate": 0.01 if classes else 1e-4, "momentum": 0.0},
        batch_size=1000,
        validation_fraction=0,
        standardize=False,
        epochs=20,
    )
    ours, theirs = (trained(spec, one).finish() for one in (weighted, repeated))
    for name, tensor in ours.params.items():
        np.testing.assert_allclose(tensor, theirs.params[name], rtol=2e-4, atol=2e-5)
    assert ours.metrics.train["loss"] == pytest.approx(theirs.metrics.train["loss"], rel=1e-4)


def test_the_reported_loss_is_the_weighted_mean_of_both_parts(
    make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec]
):
    data = replace(make_data(rows=ROWS, classes=3), weights=np.random.default_rng(2).uniform(0, 5, ROWS))
    spec = make_spec(task="classification", model={"hidden": [6], "dropout": 0}, **STILL)
    metrics = trained(spec, data).finish().metrics
    losses = row_losses(spec, data)
    rows = prepared(spec, replace(data, x=np.arange(float(ROWS))[:, np.newaxis].repeat(4, axis=1)))
    number = rows.encoders.columns[0]
    assert isinstance(number, NumberEncoder)
    places = [np.rint(part[:, 0] * number.scale + number.center).astype(int) for part in (rows.x, rows.x_validation)]
    for told, chosen in zip((metrics.train, metrics.validation), places, strict=True):
        expected = np.average(losses[chosen], weights=data.weights[chosen])
        assert told["loss"] == pytest.approx(expected, rel=1e-5)
        assert told["loss"] != pytest.approx(losses[chosen].mean(), rel=1e-3)


def test_weights_average_1_over_the_training_part(
    make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec]
):
    data = replace(make_data(rows=ROWS), weights=np.random.default_rng(3).uniform(0, 1e308, ROWS))
    rows = prepared(make_spec(), data)
    assert rows.weights.mean() == pytest.approx(1)
    assert rows.weights.shape == rows.y.shape
    assert rows.weights_validation.shape == rows.y_validation.shape
    unweighted = prepared(make_spec(), make_data(rows=ROWS))
    assert unweighted.weights.size == unweighted.weights_validation.size == 0


def test_balanced_classes_count_the_same_together(
    make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec]
):
    data = make_data(rows=ROWS, classes=2)
    data = replace(data, y=(np.arange(ROWS) % 6 == 0).astype(np.int64))
    rows = prepared(make_spec(task="classification", class_weights="balanced"), data)
    sums = [rows.weights[rows.y == k].sum() for k in range(2)]
    assert sums[0] == pytest.approx(sums[1])
    assert rows.weights.mean() == pytest.approx(1)


@pytest.mark.parametrize(
    ("classes", "weights"),
    [(("no", "yes"), {"yes": 5}), ((0, 1), {"1": 5}), ((False, True), {"true": 5}), ((0.5, 1.5), {"1.5": 5.0})],
)
def test_classes_are_weighted_by_their_labels_together_with_the_rows(
    make_data: Callable[..., TrainingData],
    make_spec: Callable[..., TrainingSpec],
    classes: tuple[Any, ...],
    weights: dict[str, float],
):
    own = np.random.default_rng(4).uniform(1, 2, ROWS)
    data = replace(make_data(rows=ROWS, classes=2), classes=classes, weights=own)
    rows = prepared(make_spec(task="classification", class_weights=weights, validation_fraction=0), data)
    expected = own * np.where(data.y == 1, 5, 1)
    np.testing.assert_allclose(rows.weights, expected / expected.mean())


def test_a_class_that_there_is_not_is_told_with_those_that_there_are(
    make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec]
):
    data = make_data(rows=ROWS, classes=2)
    with pytest.raises(InvalidInputError, match="no class `class 2`; the classes are `class 0`, `class 1`") as caught:
        prepared(make_spec(task="classification", class_weights={"class 2": 2}), data)
    assert caught.value.errors[0].pointer == "/class_weights"


def test_weights_that_leave_nothing_are_refused(
    make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec]
):
    weights = np.zeros(ROWS)
    weights[0] = 1
    with pytest.raises(InvalidInputError, match=r"no row of the (training|validation) part has a weight above 0"):
        prepared(make_spec(), replace(make_data(rows=ROWS), weights=weights))


def test_smoothing_is_for_the_training_part_only(
    make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec]
):
    for classes in (2, 3):
        data = make_data(rows=ROWS, classes=classes)
        plain, smooth = (
            trained(make_spec(task="classification", label_smoothing=part, **STILL), data).finish().metrics
            for part in (0.0, 0.2)
        )
        assert smooth.validation == plain.validation
        assert smooth.train["loss"] != plain.train["loss"]


def test_a_checkpoint_of_other_weights_is_refused(
    make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec]
):
    data = replace(make_data(rows=ROWS), weights=np.ones(ROWS))
    trainer = Trainer(make_spec(), data)
    list(trainer.run(lambda: True))
    Trainer(make_spec(), data, resume=trainer.checkpoint())
    for other in (None, np.arange(float(ROWS))):
        with pytest.raises(InvalidInputError, match="belongs to other data"):
            Trainer(make_spec(), replace(data, weights=other), resume=trainer.checkpoint())


def test_weighted_it_ends_the_same_however_often_it_is_interrupted(
    make_data: Callable[..., TrainingData], make_spec: Callable[..., TrainingSpec]
):
    data = replace(make_data(rows=ROWS, classes=3), weights=np.random.default_rng(5).uniform(0, 2, ROWS))
    spec = make_spec(task="classification", class_weights="balanced", label_smoothing=0.1, early_stopping={})
    straight = trained(spec, data)
    checkpoint = None
    for _ in range(straight.step):
        trainer = Trainer(spec, data, resume=checkpoint)
        list(trainer.run(lambda: True))
        checkpoint = trainer.checkpoint()
    resumed = Trainer(spec, data, resume=checkpoint)
    list(resumed.run())
    assert resumed.finish().weights_digest == straight.finish().weights_digest
    assert resumed.finish().metrics == straight.finish().metrics
