"""Layers of tables from the data to a prediction."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dropout_service.budgets import Budgets
from dropout_service.errors import InvalidInputError, OverBudgetError
from dropout_service.models import artifact
from dropout_service.models.prediction import predict
from dropout_service.training.check import check_size, check_spec
from dropout_service.training.columns import NumberEncoder
from dropout_service.training.data import TrainingData
from dropout_service.training.trainer import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable

    from dropout_service.training.spec import TrainingSpec

ROWS = 60
CODES = 1
"""The column of codes."""
FORMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "periodic": {"numbers": "periodic", "frequencies": 3, "units": 2},
    "piecewise_linear": {"numbers": "piecewise_linear", "bins": 4},
}


@pytest.fixture
def data() -> TrainingData:
    rng = np.random.default_rng(1)
    x = np.column_stack([rng.standard_normal(ROWS) * 50 + 10, rng.integers(0, 5, ROWS), rng.integers(0, 2, ROWS)])
    y = x[:, 0] / 50 + np.array([0, 2, -1, 1, 5])[x[:, CODES].astype(int)]
    return TrainingData(x.astype(np.float64), y, ("length", "species", "sex"), "y", None)


def layers(**columns: Any) -> dict[str, Any]:
    first = {"kind": "columns", "cardinalities": [0, 5, 1], "embedding_dim": 2, **columns}
    return {"layers": [first, {"kind": "dropout", "dropout": 0.1}, {"kind": "dense", "units": 8, "dropout": 0.2}]}


@pytest.mark.parametrize("form", FORMS)
def test_interrupted_at_every_step_it_ends_the_same(
    data: TrainingData, make_spec: Callable[..., TrainingSpec], form: str
):
    spec = make_spec(model=layers(**FORMS[form]), early_stopping={"patience": 3}, epochs=3)
    straight = Trainer(spec, data)
    list(straight.run())
    checkpoint = None
    for _ in range(straight.step):
        trainer = Trainer(spec, data, resume=checkpoint)
        list(trainer.run(lambda: True))
        checkpoint = trainer.checkpoint()
    resumed = Trainer(spec, data, resume=checkpoint)
    list(resumed.run())
    assert resumed.step == straight.step
    assert resumed.finish().weights_digest == straight.finish().weights_digest


@pytest.mark.parametrize("form", FORMS)
def test_a_stored_model_predicts_the_same(data: TrainingData, make_spec: Callable[..., TrainingSpec], form: str):
    trainer = Trainer(make_spec(model=layers(**FORMS[form])), data)
    list(trainer.run())
    model = trainer.finish()
    numbers = [encoder for encoder in model.encoders.columns if isinstance(encoder, NumberEncoder)]
    assert (numbers[CODES].center, numbers[CODES].scale) == (0, 1)
    assert numbers[0].center != 0
    again = artifact.load(artifact.dump(model))
    for mc_samples in (None, 5):
        ours, theirs = (predict(one, data.x, mc_samples=mc_samples).values for one in (model, again))
        np.testing.assert_array_equal(ours, theirs)
    assert predict(model, data.x, mc_samples=5).std.min() > 0


def test_it_learns_what_a_category_is_worth(data: TrainingData, make_spec: Callable[..., TrainingSpec]):
    def rmse(model: dict[str, Any]) -> float:
        spec = make_spec(
            model=model, epochs=150, validation_fraction=0, optimizer={"kind": "adam", "learning_rate": 0.01}
        )
        trainer = Trainer(spec, data)
        list(trainer.run())
        return float(np.sqrt(np.mean((predict(trainer.finish(), data.x).values - data.y) ** 2)))

    dense = [{"kind": "dense", "units": 8}]
    first = {"kind": "columns", "embedding_dim": 2}
    with_codes = rmse({"layers": [first | {"cardinalities": [0, 5, 1]}, *dense]})
    # As a number, a category has an order that it should not have
    assert with_codes < 0.2 < data.y.std() / 5


def test_a_value_that_is_no_code_is_told_before_the_training(
    data: TrainingData, make_spec: Callable[..., TrainingSpec]
):
    x = data.x.copy()
    x[41, CODES] = 5
    with pytest.raises(
        InvalidInputError, match="column `species`, row 42: 5 is no code of it; codes are integers from 0 to 4"
    ):
        Trainer(make_spec(model=layers()), replace(data, x=x))


def test_a_value_that_is_no_code_is_told_in_a_prediction(data: TrainingData, make_spec: Callable[..., TrainingSpec]):
    trainer = Trainer(make_spec(model=layers(), epochs=1), data)
    list(trainer.run())
    x = np.tile(data.x, (20, 1))
    x[700, CODES] = 2.5
    with pytest.raises(InvalidInputError, match=r"column `species`: 2\.5 is no code of it") as caught:
        predict(trainer.finish(), x)
    assert caught.value.errors[0].pointer == f"/x/700/{CODES}"


@pytest.mark.parametrize(
    ("model", "pointer", "message"),
    [
        (layers(cardinalities=[0, 5]), "/model/layers/0/cardinalities", "2 for 3 inputs"),
        (layers() | {"input_dropout": 0.1}, "/model/layers/0", "put it first"),
        ({"layers": [{"kind": "dense", "units": 3}, {"kind": "periodic"}]}, "/model/layers/1", "at the inputs"),
        ({"layers": [{"kind": "scale"}, {"kind": "piecewise_linear"}]}, "/model/layers/1", "at the inputs"),
    ],
)
def test_what_does_not_fit_is_refused(
    make_spec: Callable[..., TrainingSpec], model: dict[str, Any], pointer: str, message: str
):
    with pytest.raises(InvalidInputError) as caught:
        check_spec(make_spec(model=model), 3)
    assert caught.value.errors[0].pointer == pointer
    assert message in caught.value.errors[0].message


@pytest.mark.parametrize(
    ("columns", "budget", "value"),
    [
        ({"cardinalities": [0, 1000, 1]}, "parameters", 1000 * 2 + 4 * 8 + 8 + 8 + 1),
        (
            {"numbers": "piecewise_linear", "bins": 100},
            "parameters",
            4 * 100 + 5 * 2 + (100 + 1 + 2) * 8 + 8 + 8 + 1,
        ),
        ({"numbers": "periodic", "frequencies": 100, "units": 3}, "activations", 1024 * (2 * 203 + 6 + 6 + 8 + 1)),
    ],
)
def test_tables_bins_and_frequencies_are_within_the_budgets(
    make_spec: Callable[..., TrainingSpec], columns: dict[str, Any], budget: str, value: int
):
    spec = make_spec(model=layers(**columns))
    check_size(spec, inputs=3, outputs=1, rows=100, budgets=Budgets(**{budget: value}))
    with pytest.raises(OverBudgetError):
        check_size(spec, inputs=3, outputs=1, rows=100, budgets=Budgets(**{budget: value - 1}))


def test_looking_up_is_no_multiplication(data: TrainingData, make_spec: Callable[..., TrainingSpec]):
    trainer = Trainer(make_spec(model=layers(cardinalities=[0, 5000, 1]), epochs=1), data)
    list(trainer.run())
    work = ROWS * (4 * 8 + 8 + 256 * (4 + 8 + 1))
    predict(trainer.finish(), data.x, budgets=Budgets(prediction_operations=work))
