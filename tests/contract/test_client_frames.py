"""Data frames of pandas and polars and Arrow tables, all the way: uploaded, described, trained on, predicted from."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from dropout_client import Client, UnprocessableEntityError, ValuePrediction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from live_server import LiveServer

    Make = Callable[[list[dict[str, Any]]], Any]

CITIES = ("Ulm", "Bonn", "Jena")
CODES = ("01", "02", "NA")
ROWS = 60


def record(row: int) -> dict[str, Any]:
    return {
        "city": None if row % 10 == 3 else CITIES[row % 3],
        "size": None if row % 12 == 5 else 20.5 + 7 * row % 90,
        "code": CODES[row * 7 % 11 % 3],
        "member": None if row == 4 else row % 4 == 0,
        "built": None if row == 7 else date(1990, 1, 1) + timedelta(days=97 * row),
        "rooms": 1 + row % 5,
        "rent": 100.0 + 40 * (row % 3) + 7 * row % 90,
    }


RECORDS = [record(row) for row in range(ROWS)]
NEW: list[dict[str, Any]] = [
    {"city": "Oslo", "size": 55.5, "code": "02", "member": True, "built": date(2001, 2, 3), "rooms": 2},
    {"city": None, "size": None, "code": "03", "member": None, "built": None, "rooms": 7},
    {"city": "Bonn", "size": 20.0, "code": "NA", "member": False, "built": date(1995, 5, 5), "rooms": 1},
]


def pandas_frame(records: list[dict[str, Any]]) -> pd.DataFrame:
    frame = pd.DataFrame(records, index=[f"row {place}" for place in range(len(records))])
    frame["code"] = frame["code"].astype("category")
    return frame


def pandas_nullable(records: list[dict[str, Any]]) -> pd.DataFrame:
    frame = pandas_frame(records).astype({"member": "boolean", "rooms": "Int64"})
    frame["built"] = pd.to_datetime(frame["built"])
    return frame


def polars_frame(records: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(records).with_columns(pl.col("code").cast(pl.Categorical), pl.col("built").cast(pl.Datetime))


def arrow_table(records: list[dict[str, Any]]) -> pa.Table:
    table = pa.Table.from_pylist(records)
    place = table.column_names.index("code")
    return table.set_column(place, "code", table.column(place).dictionary_encode())


FRAMES: dict[str, Make] = {
    "pandas": pandas_frame,
    "pandas, nullable": pandas_nullable,
    "polars": polars_frame,
    "pyarrow": arrow_table,
}


def figures(prediction: Any) -> list[bytes | None]:
    assert isinstance(prediction, ValuePrediction)
    values, std = prediction.values, prediction.std  # noqa: PD011 - no frame
    return [values.tobytes(), None if std is None else std.tobytes()]


@pytest.fixture(scope="module")
def client(live_server: LiveServer) -> Iterator[Client]:
    with Client(live_server.url) as opened:
        yield opened


@pytest.mark.parametrize("make", FRAMES.values(), ids=FRAMES)
def test_a_frame_is_described_trained_on_and_predicted_from(client: Client, make: Make):
    dataset = client.datasets.upload(make(RECORDS), name="flats")
    schema = dataset.schema
    assert (dataset.format, schema.rows) == ("parquet", ROWS)
    told = {
        column.name: (column.type, column.missing, column.training.kind if column.training else None)
        for column in schema.columns
    }
    assert told == {
        "city": ("text", 6, "category"),
        "size": ("number", 5, "number"),
        "code": ("text", 0, "category"),
        "member": ("boolean", 1, "boolean"),
        "built": ("text", 1, "date"),
        "rooms": ("integer", 0, "number"),
        "rent": ("integer", 0, None),
    }
    codes = next(column for column in schema.columns if column.name == "code")
    assert codes.stored is not None
    assert codes.stored.startswith("dictionary")
    assert [one.label for one in codes.classes or ()] == ["01", "02", "NA"]

    job = client.jobs.submit(
        task="regression", data={"dataset": dataset.id}, model={"hidden": [8], "dropout": 0.2}, epochs=3, seed=1
    )
    model = job.result(timeout=60)
    for records in (NEW, RECORDS):
        expected = model.predict(records, mc_samples=5, seed=3)
        assert figures(model.predict(make(records), mc_samples=5, seed=3)) == figures(expected)


def test_the_columns_of_a_frame_are_found_by_name(client: Client):
    dataset = client.datasets.upload(polars_frame(RECORDS))
    model = client.jobs.submit(task="regression", data={"dataset": dataset.id}, epochs=1).result(timeout=60)
    frame = polars_frame(NEW)
    assert figures(model.predict(frame.select(reversed(frame.columns)))) == figures(model.predict(frame))
    with pytest.raises(UnprocessableEntityError, match="column `rooms` is missing"):
        model.predict(frame.drop("rooms"))
    with pytest.raises(UnprocessableEntityError, match="row 1, column `size`: 'large' is not a number"):
        model.predict(frame.with_columns(size=pl.lit("large")))


def test_a_frame_whose_column_mixes_types_is_sent_as_csv(client: Client):
    frame = pd.DataFrame({"mixed": ["a", 1, None] * 10, "y": range(30)})
    assert client.datasets.upload(frame).format == "csv"
