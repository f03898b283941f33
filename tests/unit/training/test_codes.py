"""Categories of many values, from the texts of a table to predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dropout_service.errors import InvalidInputError
from dropout_service.models import artifact
from dropout_service.models.prediction import predict
from dropout_service.models.rows import rows_of_records
from dropout_service.training.check import check_spec
from dropout_service.training.columns.code import CodeEncoder
from dropout_service.training.data import TrainingData
from dropout_service.training.stored import read_spec, write_spec
from dropout_service.training.trainer import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable

    from dropout_service.training.spec import TrainingSpec

ROWS, SHOPS = 4000, 200
DENSE = {"kind": "dense", "units": 16}
EMBEDDED = {"layers": [{"kind": "columns", "embedding_dim": 4}, DENSE]}


@pytest.fixture(scope="module")
def data() -> TrainingData:
    """What a shop takes in: each has a level of its own."""
    rng = np.random.default_rng(0)
    shop = rng.integers(0, SHOPS, ROWS)
    size = rng.normal(size=ROWS)
    y = rng.normal(size=SHOPS)[shop] + 0.3 * size
    x = np.column_stack([size, np.where(np.arange(ROWS) % 100 == 0, np.nan, shop)])
    labels = {"shop": tuple(f"shop {n}" for n in range(SHOPS))}
    return TrainingData(x, y, ("size", "shop"), "y", None, labels=labels)


def columns(kind: str) -> dict[str, Any]:
    return {"dataset": "sha256-0", "columns": {"shop": {"kind": kind}}}


def trained(spec: TrainingSpec, data: TrainingData) -> Any:
    trainer = Trainer(spec, data)
    list(trainer.run())
    return trainer.finish()


@pytest.fixture
def model(data: TrainingData, make_spec: Callable[..., TrainingSpec]) -> Any:
    return trained(make_spec(data=columns("code"), model=EMBEDDED, epochs=30, optimizer=ADAM), data)


ADAM = {"kind": "adam", "learning_rate": 0.01}


def test_an_embedding_learns_what_the_frequent_categories_alone_do_not_tell(
    data: TrainingData, model: Any, make_spec: Callable[..., TrainingSpec]
):
    one_hot = trained(make_spec(data=columns("category"), model={"layers": [DENSE]}, epochs=30, optimizer=ADAM), data)
    embedded, frequent = (float(np.std(_errors(one, data))) for one in (model, one_hot))
    assert embedded < 0.25
    assert frequent > 0.5


def _errors(model: Any, data: TrainingData) -> np.ndarray:
    known = [row for row in range(0, ROWS, 7) if not np.isnan(data.x[row, 1])]
    records = [{"size": data.x[row, 0], "shop": data.labels["shop"][int(data.x[row, 1])]} for row in known]
    return predict(model, rows_of_records(model, records)).values - data.y[known]


def test_a_prediction_takes_gaps_and_categories_that_it_does_not_know(model: Any):
    encoder = model.encoders.columns[1]
    assert isinstance(encoder, CodeEncoder)
    assert encoder.gaps
    rows = rows_of_records(model, [{"size": 0.0, "shop": shop} for shop in ("never seen", "nor this", None, "shop 3")])
    unknown, another, gap, known = predict(model, rows).values
    assert unknown == another
    assert len({float(unknown), float(gap), float(known)}) == 3


def test_a_stored_model_knows_its_codes(model: Any):
    again = artifact.load(artifact.dump(model))
    rows = rows_of_records(model, [{"size": 0.5, "shop": "shop 7"}, {"size": 0.5, "shop": None}])
    np.testing.assert_array_equal(predict(again, rows).values, predict(model, rows).values)


def test_a_specification_with_codes_needs_the_version_that_brought_them(make_spec: Callable[..., TrainingSpec]):
    spec = make_spec(data=columns("code"), model=EMBEDDED)
    stored = write_spec(spec)
    assert stored["version"] == 6
    assert read_spec(stored) == spec
    assert write_spec(make_spec(data=columns("category"), model=EMBEDDED))["version"] == 3


@pytest.mark.parametrize(
    ("model", "pointer", "message"),
    [
        ({"hidden": [8]}, "/model/hidden", "begin `layers` with a layer `columns`"),
        ({"layers": [DENSE]}, "/model/layers", "or use it as a `category`"),
        (
            {"layers": [{"kind": "columns", "cardinalities": [0, 10]}, DENSE]},
            "/model/layers/0/cardinalities",
            "input 2 has 200 codes, not 10",
        ),
    ],
    ids=["hidden", "layers", "too few"],
)
def test_codes_without_a_layer_that_reads_them_are_refused(
    make_spec: Callable[..., TrainingSpec], model: dict[str, Any], pointer: str, message: str
):
    with pytest.raises(InvalidInputError) as caught:
        check_spec(make_spec(data=columns("code"), model=model), [0, 200])
    assert caught.value.errors[0].pointer == pointer
    assert message in caught.value.errors[0].message


def test_more_codes_than_there_are_may_be_given(make_spec: Callable[..., TrainingSpec]):
    layers = [{"kind": "columns", "cardinalities": [0, 1000]}, DENSE]
    check_spec(make_spec(data=columns("code"), model={"layers": layers}), [0, 200])
