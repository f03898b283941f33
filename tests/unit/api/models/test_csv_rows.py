"""CSV of rows to predict: in every form that a dataset may have, for every kind of column."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from dropout_service.api.models.csv_rows import rows_of_csv
from dropout_service.budgets import Budgets
from dropout_service.errors import InvalidInputError, OverBudgetError
from dropout_service.training.data import TrainingData
from dropout_service.training.spec import TrainingSpec
from dropout_service.training.trainer import Trainer

if TYPE_CHECKING:
    from dropout_service.training.trained import TrainedModel

NAN = float("nan")
DAY_S = 86_400.0


@pytest.fixture(scope="module")
def model() -> TrainedModel:
    rng = np.random.default_rng(0)
    x = np.column_stack(
        [rng.normal(size=40), rng.integers(0, 2, 40), rng.integers(0, 3, 40), rng.integers(0, 900, 40) * DAY_S]
    )
    spec = TrainingSpec.model_validate(
        {
            "task": "regression",
            "data": {
                "dataset": "sha256-0",
                "columns": {"member": {"kind": "boolean"}, "code": {"kind": "category"}, "day": {"kind": "date"}},
            },
            "epochs": 1,
        }
    )
    labels = {"code": ("1", "2.5", "007")}
    trainer = Trainer(spec, TrainingData(x, x[:, 0], ("a", "member", "code", "day"), "y", None, labels=labels))
    list(trainer.run())
    return trainer.finish()


@pytest.mark.parametrize(
    "text",
    [
        "a,member,code,day\n1,true,1,1970-01-02\n-2.5,0,007,\n",
        "day;code;member;a\n1970-01-02;1.0;True;1\n;007;false;-2.5\n",
        "id\tday\ta\tmember\tcode\nx\t1970-01-02\t1\t1\t1\ny\tNA\t-2.5\tFALSE\t007\n",
        " a , member , code , day \n 1 , true , 1 , 1970-01-02 \n\n -2.5 , false , 007 , null \n",
        '"a","member","code","day"\r\n"1","true","1","1970-01-02T00:00:00Z"\r\n"-2.5","0","007",""\r\n',
    ],
    ids=["commas", "semicolons", "tabs and another column", "spaces and blank lines", "quotes"],
)
def test_each_form_gives_the_same_rows(model: TrainedModel, text: str):
    rows = rows_of_csv(model, text.encode(), Budgets())
    assert rows.texts == ((), (), ("1", "007"), ())
    np.testing.assert_array_equal(rows.x, [[1, 1, 0, DAY_S], [-2.5, 0, 1, NAN]])


def test_gaps_and_unknown_categories_are_normal(model: TrainedModel):
    rows = rows_of_csv(model, b"a,member,code,day\n,,,\n1,NA,new,NaN\n2,true,2.50,\n", Budgets())
    assert rows.texts[2] == ("new", "2.5")
    np.testing.assert_array_equal(rows.x, [[NAN, NAN, NAN, NAN], [1, NAN, 0, NAN], [2, 1, 1, NAN]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("a,member,code,day\n", "has a header but no rows"),
        ("a,membr,code,day\n1,true,1,\n", "column `member` is missing; did you mean `member` by `membr`?"),
        ("b,member,code,day\n1,true,1,\n", "column `a` is missing"),
        ("a,member,code,day\n1,true,1,\n2,true\n", "row 2 has 2 cells, but the header has 4 columns"),
        ("a,member,code,day\n1,true,1,\nlarge,true,1,\n", "row 2, column `a`: 'large' is not a number"),
        ("a,member,code,day\ninf,true,1,\n", "row 1, column `a`: 'inf' is not finite"),
        ("a,member,code,day\n1,yes,1,\n", "row 1, column `member`: 'yes' is neither true nor false"),
        ("a,member,code,day\n1,true,1,24.12.2024\n", "row 1, column `day`: '24.12.2024' is not a date"),
        ("1,2\n3,4\n", "looks like data"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(model: TrainedModel, text: str, message: str):
    with pytest.raises(InvalidInputError) as caught:
        rows_of_csv(model, text.encode(), Budgets())
    assert message in caught.value.message


def test_columns_are_bounded(model: TrainedModel):
    with pytest.raises(OverBudgetError, match="DROPOUT_SERVICE_MAX_COLUMNS"):
        rows_of_csv(model, b"a,b,c,d\n1,2,3,4\n", Budgets(columns=3))
