"""A table of texts, gaps and dates all the way: trained on, stored, read back, and asked for by column name."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dropout_service.errors import InvalidInputError
from dropout_service.models import artifact
from dropout_service.models.prediction import predict
from dropout_service.models.rows import rows_of_array, rows_of_records
from dropout_service.training.columns import RawColumn
from dropout_service.training.data import TrainingData
from dropout_service.training.spec import TrainingSpec
from dropout_service.training.tensors import pack, unpack
from dropout_service.training.trainer import Trainer

if TYPE_CHECKING:
    from dropout_service.training.trained import TrainedModel

CITIES = ("Ulm", "Bonn", "Jena")
ROWS = 200
RNG = np.random.default_rng(5)
CITY = RNG.integers(0, 3, ROWS)
SIZE = RNG.normal(100, 20, ROWS)
DAY = RNG.integers(0, 900, ROWS)
MEMBER = RNG.integers(0, 2, ROWS)
TARGET = SIZE / 20 + 3.0 * CITY + 2.0 * MEMBER
START = datetime(2020, 1, 1, tzinfo=UTC)


def record(row: int) -> dict[str, Any]:
    return {
        "member": bool(MEMBER[row]),
        "day": (START + timedelta(days=int(DAY[row]))).date().isoformat(),
        "city": CITIES[CITY[row]],
        "size": float(SIZE[row]),
    }


@pytest.fixture(scope="module")
def data() -> TrainingData:
    size, city = SIZE.copy(), CITY.astype(float)
    size[:20] = np.nan
    city[20:40] = np.nan
    return TrainingData(
        x=np.column_stack([city, size, START.timestamp() + DAY * 86_400.0, MEMBER]),
        y=TARGET,
        feature_names=("city", "size", "day", "member"),
        target_name="rent",
        classes=None,
        labels={"city": CITIES},
    )


@pytest.fixture(scope="module")
def spec() -> TrainingSpec:
    return TrainingSpec.model_validate(
        {
            "task": "regression",
            "data": {
                "dataset": "sha256-0",
                "columns": {"city": {"kind": "category"}, "day": {"kind": "date"}, "member": {"kind": "boolean"}},
            },
            "model": {"hidden": [32], "dropout": 0.05},
            "optimizer": {"kind": "adam", "learning_rate": 0.01},
            "epochs": 60,
            "scaling": "robust",
        }
    )


@pytest.fixture(scope="module")
def model(spec: TrainingSpec, data: TrainingData) -> TrainedModel:
    trainer = Trainer(spec, data)
    list(trainer.run())
    return trainer.finish()


def test_it_learns_from_every_kind_of_column(model: TrainedModel):
    rows = range(40, ROWS)
    predicted = predict(model, rows_of_records(model, [record(row) for row in rows])).values
    assert predicted is not None
    error = float(np.sqrt(np.mean((predicted - TARGET[40:]) ** 2)))
    assert error < 0.25 * TARGET.std()


def test_a_stored_model_predicts_the_same(model: TrainedModel):
    stored = artifact.load(artifact.dump(model))
    assert stored.encoders == model.encoders
    records = [record(row) for row in range(30)]
    for samples in (None, 5):
        there, here = (
            predict(one, rows_of_records(one, records), mc_samples=samples, seed=3) for one in (stored, model)
        )
        assert there.values is not None
        assert here.values is not None
        assert there.values.tolist() == here.values.tolist()
    described = json.loads(json.dumps(artifact.description(model), allow_nan=False))
    assert described["format"] == 2
    assert [column["kind"] for column in described["columns"]] == ["category", "number", "date", "boolean"]
    assert "input_scaling" not in described


def test_records_mean_the_same_in_any_order_with_other_names_beside(model: TrainedModel):
    plain = [record(row) for row in range(50, 60)]
    turned = [dict(reversed([*one.items(), ("rent", 5), ("id", 3)])) for one in plain]
    one, other = (predict(model, rows_of_records(model, records)).values for records in (plain, turned))
    assert one is not None
    assert other is not None
    assert one.tolist() == other.tolist()


def test_gaps_and_unknown_categories_are_normal(model: TrainedModel):
    blank = {"city": None, "size": None, "day": None, "member": None}
    strange = {**record(0), "city": "Atlantis"}
    values = predict(model, rows_of_records(model, [blank, strange])).values
    assert values is not None
    assert np.isfinite(values).all()
    # A gap that training rows had is told apart from the value that stands for it.
    rows = rows_of_records(model, [blank, {**blank, "size": float(np.nanmedian(SIZE))}])
    size = model.encoders.columns[1].encode(RawColumn(rows.x[:, 1]))
    assert size[0, 1] == 1
    assert size[1, 1] == 0


@pytest.mark.parametrize(
    ("change", "pointer", "says"),
    [
        ({"city": ["Ulm"]}, "/records/1/city", "is neither text, number nor truth value"),
        ({"size": "large"}, "/records/1/size", "'large' (column `size`, number) is not a number; null where"),
        ({"day": "1.2.2020"}, "/records/1/day", "is not a date or time of ISO 8601"),
        ({"member": "yes"}, "/records/1/member", "is neither true nor false"),
    ],
)
def test_what_a_column_cannot_have_is_told(model: TrainedModel, change: dict[str, Any], pointer: str, says: str):
    with pytest.raises(InvalidInputError) as caught:
        rows_of_records(model, [record(0), {**record(1), **change}])
    assert caught.value.errors[0].pointer == pointer
    assert says in caught.value.message


def test_a_mistyped_column_is_told_with_the_right_name(model: TrainedModel):
    mistyped = {("citty" if name == "city" else name): value for name, value in record(1).items()}
    with pytest.raises(InvalidInputError, match="column `city` is missing; did you mean `city` by `citty`"):
        rows_of_records(model, [record(0), mistyped])


def test_an_array_is_refused_where_a_column_is_no_number(model: TrainedModel):
    with pytest.raises(InvalidInputError, match="column `city` is one of kind category; send `records`"):
        rows_of_array(model, np.zeros((1, 4)))


def test_a_nan_of_an_array_is_a_gap_where_training_rows_had_some():
    x = np.random.default_rng(0).normal(size=(60, 2))
    y = x @ [1.0, 2.0]
    x[:10, 0] = np.nan
    spec = TrainingSpec.model_validate({"task": "regression", "data": {"dataset": "sha256-0"}, "epochs": 2})
    trainer = Trainer(spec, TrainingData(x, y, ("a", "b"), "y", None))
    list(trainer.run())
    trained = artifact.load(artifact.dump(trainer.finish()))
    values = predict(trained, np.array([[np.nan, 0.0]])).values
    assert values is not None
    assert np.isfinite(values).all()
    with pytest.raises(InvalidInputError, match=r"column `b`\) is not finite; `records` may leave a value out"):
        predict(trained, np.array([[0.0, np.nan]]))
    by_name = predict(trained, rows_of_records(trained, [{"a": 0.0, "b": None}])).values
    assert by_name is not None


def test_the_checkpoint_of_a_table_goes_on_to_the_same_weights(spec: TrainingSpec, data: TrainingData):
    straight = Trainer(spec, data)
    list(straight.run())
    first = Trainer(spec, data)
    steps = iter(range(1000))
    list(first.run(lambda: next(steps) >= 37))
    resumed = Trainer(spec, data, resume=first.checkpoint())
    list(resumed.run())
    assert resumed.finish().weights_digest == straight.finish().weights_digest


def test_a_checkpoint_of_other_labels_is_refused(spec: TrainingSpec, data: TrainingData):
    trainer = Trainer(spec, data)
    other = TrainingData(
        data.x, data.y, data.feature_names, data.target_name, None, labels={"city": ("Ulm", "Bonn", "Kiel")}
    )
    with pytest.raises(InvalidInputError, match="other data"):
        Trainer(spec, other, resume=trainer.checkpoint())


@pytest.mark.parametrize(
    "change",
    [
        lambda fields: fields["columns"].pop(),
        lambda fields: fields["columns"][0].update(kind="embedding"),
        lambda fields: fields["columns"][0]["labels"].append("Kiel"),
        lambda fields: fields.pop("columns"),
    ],
    ids=["a column less", "a kind that there is not", "a label more", "no columns"],
)
def test_a_lying_description_is_refused(model: TrainedModel, change: Any):
    tensors, fields = unpack(artifact.dump(model), pointer="/")
    change(fields)
    with pytest.raises(InvalidInputError):
        artifact.load(pack(tensors, fields))
