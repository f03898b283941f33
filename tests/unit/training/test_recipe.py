from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dropout_service.budgets import Budgets
from dropout_service.models.prediction import predict
from dropout_service.training.check import check_size, check_spec
from dropout_service.training.data import TrainingData
from dropout_service.training.recipe import fill_in
from dropout_service.training.spec import ModelSpec, TrainingSpec
from dropout_service.training.trainer import Trainer


def spec(**fields: Any) -> TrainingSpec:
    return TrainingSpec.model_validate({"task": "regression", "data": {"dataset": "sha256-0"}, **fields})


@pytest.mark.parametrize(
    ("rows", "batch_size", "epochs"),
    [
        (1, 32, 100),
        (50, 32, 100),
        (999, 32, 100),
        (1000, 64, 100),
        (30_000, 256, 100),
        (1_000_000, 256, 15),
        (10**9, 256, 10),
    ],
)
def test_it_follows_the_size_of_the_table(rows: int, batch_size: int, epochs: int):
    filled_in = fill_in(spec(), rows=rows, inputs=10)
    assert (filled_in.batch_size, filled_in.epochs) == (batch_size, epochs)
    assert (filled_in.model.layers is not None) == (rows >= 1000)
    assert (filled_in.early_stopping is not None) == (rows >= 100)
    check_spec(filled_in, 10)
    assert TrainingSpec.model_validate(filled_in.model_dump(mode="json")) == filled_in


def test_a_wide_table_is_not_embedded():
    assert fill_in(spec(), rows=5000, inputs=257).model.hidden == (128, 128)


def test_categories_of_many_values_become_codes_that_are_embedded():
    filled_in = fill_in(spec(), rows=5000, inputs=70, many_valued={"zip": 66})
    assert (filled_in.data.columns or {})["zip"].kind == "code"
    columns, *_ = filled_in.model.layers or ()
    assert (columns.kind, columns.parameters["numbers"]) == ("columns", "piecewise_linear")
    check_spec(filled_in, [0, 0, 1, 300])
    assert fill_in(filled_in, rows=5000, inputs=5) == filled_in
    # Not of few rows, nor where a model was named; and one that was asked for is embedded in any case.
    assert fill_in(spec(), rows=999, inputs=70, many_valued={"zip": 66}) == fill_in(spec(), rows=999, inputs=70)
    named = spec(model={"hidden": [8]})
    assert fill_in(named, rows=5000, inputs=70, many_valued={"zip": 66}) == named
    asked = spec(data={"dataset": "sha256-0", "columns": {"zip": {"kind": "code"}}})
    columns, *_ = fill_in(asked, rows=999, inputs=5).model.layers or ()
    assert (columns.kind, columns.parameters["numbers"]) == ("columns", "plain")


def test_flags_are_passed_on_beside_numbers_in_bins():
    columns, *_ = fill_in(spec(), rows=5000, inputs=[0, 0, 1, 1]).model.layers or ()
    assert (columns.kind, columns.parameters["flags"]) == ("columns", "plain")
    assert columns.parameters["numbers"] == "piecewise_linear"
    numbers, *_ = fill_in(spec(), rows=5000, inputs=[0, 0]).model.layers or ()
    assert numbers.kind == "piecewise_linear"
    assert fill_in(spec(), rows=5000, inputs=[1, 1]).model.hidden == (128, 128)


def test_a_wide_table_of_flags_has_its_numbers_embedded():
    columns, *_ = fill_in(spec(), rows=5000, inputs=[0] * 256 + [1] * 300).model.layers or ()
    assert columns.parameters["numbers"] == "piecewise_linear"
    assert fill_in(spec(), rows=5000, inputs=[0] * 257 + [1]).model.hidden == (128, 128)
    coded = fill_in(spec(), rows=5000, inputs=[0] * 257 + [1] * 66, many_valued={"zip": 66})
    columns, *_ = coded.model.layers or ()
    assert columns.parameters["numbers"] == "plain"


@pytest.mark.parametrize(
    ("rows", "width", "members"),
    [(500, 10, 8), (500, 20_000, 3), (5000, 10, 8), (20_000, 10, 4), (5000, 30_000, 2), (500, 40_000, 1)],
)
def test_of_a_wide_table_fewer_networks_are_trained(rows: int, width: int, members: int):
    filled_in = fill_in(spec(), rows=rows, inputs=width)
    assert filled_in.model.members == members
    check_size(filled_in, inputs=width, outputs=1, rows=rows, budgets=Budgets())


def test_networks_hold_out_rows_of_their_own_where_any_are_held_out():
    assert fill_in(spec(), rows=500, inputs=10).model.own_parts
    assert not fill_in(spec(), rows=50, inputs=10).model.own_parts
    assert not fill_in(spec(validation_fraction=0), rows=500, inputs=10).model.own_parts


def test_who_names_a_model_gets_the_plain_defaults():
    plain = spec(model={"hidden": [8]})
    assert fill_in(plain, rows=5000, inputs=10) == plain


def test_what_is_said_stays():
    said: dict[str, Any] = {
        "optimizer": {"kind": "sgd", "learning_rate": 0.5},
        "schedule": {"kind": "constant"},
        "epochs": 7,
        "batch_size": 11,
        "early_stopping": None,
        "scaling": "standard",
        "seed": 3,
    }
    filled_in = fill_in(spec(**said), rows=5000, inputs=10)
    told = spec(**said)
    for name in said:
        assert getattr(filled_in, name) == getattr(told, name), name
    assert filled_in.model != ModelSpec()


def test_without_a_validation_part_nothing_stops_early():
    filled_in = fill_in(spec(validation_fraction=0), rows=5000, inputs=10)
    assert (filled_in.validation_fraction, filled_in.early_stopping) == (0, None)


@pytest.mark.parametrize("rows", [300, 1200])
def test_it_learns_a_curve_better_than_the_plain_defaults(rows: int):
    """A wave over a skewed number: the mean error of two seeds on rows of their own."""
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.lognormal(size=rows + 500), rng.normal(size=(rows + 500, 3))])
    y = np.sin(3 * np.log(x[:, 0])) + 0.5 * x[:, 1] + 0.1 * rng.normal(size=rows + 500)
    errors: list[float] = []
    for one in (fill_in(spec(), rows=rows, inputs=4), spec()):
        squares: list[float] = []
        for seed in range(2):
            data = TrainingData(x[:rows], y[:rows], ("a", "b", "c", "d"), "y", None)
            trainer = Trainer(one.model_copy(update={"seed": seed}), data)
            list(trainer.run(every_s=1.0))
            trained = trainer.finish()
            values = predict(trained, x[rows:]).values
            assert values is not None
            squares.append(float(np.mean((values - y[rows:]) ** 2)))
        errors.append(float(np.sqrt(np.mean(squares))))
    by_recipe, plain = errors
    assert by_recipe < 0.9 * plain
