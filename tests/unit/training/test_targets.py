"""Several targets at once, from the data to a prediction."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dropout_service.errors import InvalidInputError
from dropout_service.models import artifact
from dropout_service.models.prediction import predict
from dropout_service.training.data import TrainingData
from dropout_service.training.trainer import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable

    from dropout_service.training.spec import TrainingSpec

ROWS, NAMES = 60, ("height", "weight", "age")
LOSSES: dict[str, dict[str, Any]] = {
    "squared_error": {},
    "huber": {"huber_delta": 0.5},
    "gaussian_nll": {},
    "quantile": {"quantiles": [0.2, 0.5, 0.6, 0.9]},
}
each_loss = pytest.mark.parametrize("loss", LOSSES)


@pytest.fixture
def data() -> TrainingData:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((ROWS, 3))
    y = (x @ rng.standard_normal((3, 3)) + 0.1 * rng.standard_normal((ROWS, 3))) * [1, 100, 0.01] + [0, 1000, 5]
    return TrainingData(x, y, ("a", "b", "c"), ", ".join(NAMES), None, NAMES)


def trained(spec: TrainingSpec, data: TrainingData) -> Trainer:
    trainer = Trainer(spec, data)
    list(trainer.run())
    return trainer


@each_loss
def test_each_target_comes_back_in_its_own_unit(data: TrainingData, make_spec: Callable[..., TrainingSpec], loss: str):
    fields = {"loss": loss, "validation_fraction": 0, "epochs": 200, "model": {"hidden": [16], "dropout": 0}}
    model = trained(make_spec(**fields, **LOSSES[loss]), data).finish()
    prediction = predict(model, data.x)
    assert prediction.target_names == NAMES
    assert prediction.values.shape == (ROWS, 3)
    error = np.sqrt(((prediction.values - data.y) ** 2).mean(axis=0))
    assert (error < 0.5 * data.y.std(axis=0)).all()
    for name, one in zip(NAMES, error, strict=True):
        assert model.metrics.train[f"rmse.{name}"] == pytest.approx(one, rel=0.3)
    if loss == "gaussian_nll":
        assert prediction.aleatoric_std.shape == (ROWS, 3)
        assert (prediction.aleatoric_std < data.y.std(axis=0)).all()
    if loss == "quantile":
        assert prediction.quantiles.shape == (ROWS, 3, 4)
        assert (np.diff(prediction.quantiles) >= 0).all()
        np.testing.assert_array_equal(prediction.values, prediction.quantiles[:, :, 1])


@each_loss
def test_a_stored_model_and_its_samples(data: TrainingData, make_spec: Callable[..., TrainingSpec], loss: str):
    model = trained(make_spec(loss=loss, **LOSSES[loss]), data).finish()
    again = artifact.load(artifact.dump(model))
    assert again.target_names == NAMES
    ours, theirs = (predict(one, data.x, mc_samples=6) for one in (model, again))
    assert ours.std.shape == (ROWS, 3)
    assert (ours.std > 0).all()
    np.testing.assert_array_equal(ours.values, theirs.values)


@each_loss
def test_the_loss_is_the_mean_over_the_targets(data: TrainingData, make_spec: Callable[..., TrainingSpec], loss: str):
    """With weights of its own for each target, a network of three is three networks."""
    fields: dict[str, Any] = {
        "loss": loss,
        "model": {"hidden": [], "initializer": "he_uniform"},
        "optimizer": {"kind": "sgd", "learning_rate": 0.0, "momentum": 0.0},
        "epochs": 1,
        **LOSSES[loss],
    }
    fields["optimizer"]["learning_rate"] = 1e-30
    whole = trained(make_spec(**fields), data).finish()
    width = whole.params["layers.0.weight"].shape[1] // 3
    from_whole = []
    for place in range(3):
        alone = Trainer(make_spec(**fields), replace(data, y=data.y[:, place], target_name="y", target_names=None))
        for view, name in zip(alone.members[0].network.parameters.views().values(), ("weight", "bias"), strict=True):
            view[:] = whole.params[f"layers.0.{name}"][..., place * width : (place + 1) * width]
        list(alone.run())
        from_whole.append(alone.finish().metrics)
    for part in ("train", "validation"):
        told = getattr(whole.metrics, part)
        assert told["loss"] == pytest.approx(np.mean([getattr(one, part)["loss"] for one in from_whole]), rel=1e-5)
        for place, name in enumerate(NAMES):
            for figure in ("rmse", "mae"):
                assert told[f"{figure}.{name}"] == pytest.approx(getattr(from_whole[place], part)[figure], rel=1e-5)


@each_loss
def test_interrupted_at_every_step_it_ends_the_same(
    data: TrainingData, make_spec: Callable[..., TrainingSpec], loss: str
):
    spec = make_spec(loss=loss, early_stopping={"patience": 2}, epochs=3, **LOSSES[loss])
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


def test_a_target_beyond_float32_is_told_by_its_name(data: TrainingData, make_spec: Callable[..., TrainingSpec]):
    y = data.y.copy()
    y[:, 1] = np.where(np.arange(ROWS) % 2, 1.7e308, -1.7e308)
    with pytest.raises(InvalidInputError, match="values of `weight` are too large"):
        Trainer(make_spec(), replace(data, y=y))
