"""Parquet and Arrow IPC: types as they are, columns that no training reads, and files that are damaged."""

from __future__ import annotations

import datetime as dt
import io
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet
import pytest

from dropout_service.budgets import Budgets
from dropout_service.datasets.dataset import COLUMNAR
from dropout_service.datasets.loading import load_training_data
from dropout_service.datasets.resolution import resolve
from dropout_service.datasets.scan import detect_format, scan
from dropout_service.errors import InvalidInputError, OverBudgetError
from dropout_service.training.spec import TrainingSpec

if TYPE_CHECKING:
    from pathlib import Path

    from dropout_service.blobs import BlobStore
    from dropout_service.datasets.dataset import Dataset
    from dropout_service.datasets.registry import DatasetRegistry

NAN = float("nan")


def encoded(table: pa.Table, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    if form == "parquet":
        pyarrow.parquet.write_table(table, file, **options)
    else:
        writer = (pyarrow.ipc.new_file if form == "arrow" else pyarrow.ipc.new_stream)(file, table.schema)
        with writer:
            writer.write_table(table, **options)
    return file.getvalue()


def stored(registry: DatasetRegistry, content: bytes) -> Dataset:
    with registry.upload() as upload:
        upload.write(content)
        return registry.add(upload)[0]


def scanned(tmp_path: Path, content: bytes, budgets: Budgets | None = None):
    path = tmp_path / "content"
    path.write_bytes(content)
    return scan(path, detect_format(path), budgets or Budgets())


def moment(day: int, hour: int = 0) -> dt.datetime:
    return dt.datetime(2024, 1, day, hour, tzinfo=dt.UTC)


MIXED = pa.table(
    {
        "n": pa.array([1, None, 3, 2**63 - 1], pa.int64()),
        "zip": pa.array(["01067", "NA", None, "01067"]),
        "kind": pa.array(["a", "b", "a", None]).dictionary_encode(),
        "code": pa.array([7, 8, None, 7], pa.uint8()).dictionary_encode(),
        "is": pa.array([True, None, False, True]),
        "price": pa.array([Decimal("1.50"), Decimal("-2.25"), None, Decimal(0)], pa.decimal128(9, 2)),
        "day": pa.array([dt.date(2024, 1, day) for day in (1, 2, 3)] + [None]),
        "at": pa.array([moment(1, 1), None, moment(2), moment(3)], pa.timestamp("ns", "Europe/Berlin")),
        "x.y": pa.array([0.5, NAN, None, float("inf")], pa.float32()),
        "nothing": pa.nulls(4),
        "list": pa.array([[1], [], None, [2, 3]]),
        "struct": pa.array([{"a": 1, "b": [1]}] * 4),
        "bytes": pa.array([b"\xff"] * 4),
        "y": pa.array([1.0, 2.0, 3.0, 4.0], pa.float16()),
    }
)


@pytest.mark.parametrize("form", COLUMNAR)
def test_types_are_those_of_the_file(registry: DatasetRegistry, form: str):
    dataset = stored(registry, encoded(MIXED, form))
    assert dataset.format == form
    assert registry.get(dataset.id) == dataset
    assert {one.name: (one.type, one.date, one.missing, one.bad) for one in dataset.schema.columns} == {
        "n": ("number", False, 1, 0),
        "zip": ("text", False, 1, 0),
        "kind": ("text", False, 1, 0),
        "code": ("integer", False, 1, 0),
        "is": ("boolean", False, 1, 0),
        "price": ("number", False, 1, 0),
        "day": ("text", True, 1, 0),
        "at": ("text", True, 1, 0),
        "x.y": ("number", False, 2, 1),
        "nothing": ("empty", False, 4, 0),
        "list": ("other", False, 0, 0),
        "struct": ("other", False, 0, 0),
        "bytes": ("other", False, 0, 0),
        "y": ("integer", False, 0, 0),
    }
    column = dataset.schema.column("struct")
    assert column is not None
    assert str(column.stored).startswith("struct<a: int64, b: list<")
    assert [(cell.row, cell.column, cell.value) for cell in dataset.schema.bad_cells] == [(4, "x.y", "inf")]


@pytest.mark.parametrize("form", COLUMNAR)
def test_a_training_reads_what_the_schema_told(registry: DatasetRegistry, blobs: BlobStore, form: str):
    dataset = stored(registry, encoded(MIXED, form))
    spec = TrainingSpec.model_validate(
        {
            "task": "regression",
            "data": {
                "dataset": dataset.id,
                "target": "y",
                "columns": {
                    "x.y": {"use": False},
                    "code": {"kind": "category"},
                    "zip": {"kind": "category"},
                    "day": {"use": True},
                },
            },
        }
    )
    data = load_training_data(dataset, blobs, resolve(dataset.schema, dataset.format, spec))
    assert data.feature_names == ("n", "zip", "kind", "code", "is", "price", "day", "at")
    assert data.labels == {"zip": ("01067", "NA"), "kind": ("a", "b"), "code": ("7", "8")}
    day_s = 86400.0
    start = moment(1).timestamp()
    np.testing.assert_array_equal(
        data.x,
        [
            [1, 0, 0, 0, 1, 1.5, start, start + 3600],
            [NAN, 1, 1, 1, NAN, -2.25, start + day_s, NAN],
            [3, NAN, 0, NAN, 0, NAN, start + 2 * day_s, start + day_s],
            [2.0**63, 0, NAN, 0, 1, 0, NAN, start + 2 * day_s],
        ],
    )
    np.testing.assert_array_equal(data.y, [1, 2, 3, 4])


@pytest.mark.parametrize("form", COLUMNAR)
def test_all_forms_and_csv_give_the_same(registry: DatasetRegistry, blobs: BlobStore, form: str):
    rng = np.random.default_rng(3)
    rows = 70_000
    table = pa.table(
        {
            "a": rng.normal(size=rows),
            "b": rng.choice(["x", "y y", "ü"], rows),
            "c": rng.integers(0, 9, rows),
            "y": rng.choice(["no", "yes"], rows),
        }
    )
    names = table.column_names
    lines = [",".join(names), *(f"{a!r},{b},{c},{y}" for a, b, c, y in zip(*table.to_pydict().values(), strict=True))]
    options = {"row_group_size": 9000} if form == "parquet" else {"max_chunksize": 9000}
    trained = []
    for content in ("\n".join(lines).encode(), encoded(table, form, **options)):
        dataset = stored(registry, content)
        spec = TrainingSpec.model_validate({"task": "classification", "data": {"dataset": dataset.id}})
        trained.append(load_training_data(dataset, blobs, resolve(dataset.schema, dataset.format, spec)))
    csv, other = trained
    np.testing.assert_array_equal(other.x, csv.x)
    np.testing.assert_array_equal(other.y, csv.y)
    assert (other.labels, other.classes, other.feature_names) == (csv.labels, csv.classes, csv.feature_names)


@pytest.mark.parametrize("form", COLUMNAR)
def test_what_is_wrong_is_told(tmp_path: Path, form: str):
    content = encoded(MIXED, form)
    with pytest.raises(InvalidInputError, match=r"cannot be read|has no rows|no columns"):
        scanned(tmp_path, content[: len(content) // 2])
    with pytest.raises(InvalidInputError, match="no column is one that a training reads: `list` is list"):
        scanned(tmp_path, encoded(MIXED.select(["list", "bytes"]), form))
    with pytest.raises(InvalidInputError, match="no rows"):
        scanned(tmp_path, encoded(MIXED.slice(0, 0), form))
    with pytest.raises(InvalidInputError, match="more than one column is called 'a'"):
        scanned(tmp_path, encoded(pa.table([pa.array([1]), pa.array([2])], ["a", "a"]), form))
    with pytest.raises(InvalidInputError, match="column 2 is called ' b'; give it a name without spaces around"):
        scanned(tmp_path, encoded(pa.table({"a": [1], " b": [2]}), form))
    with pytest.raises(OverBudgetError, match="14 columns"):
        scanned(tmp_path, content, Budgets(columns=13))


@pytest.mark.parametrize("form", COLUMNAR)
def test_rows_beyond_the_budget_are_refused_before_they_are_unpacked(tmp_path: Path, form: str):
    table = pa.table({"a": pa.array(np.zeros(1 << 18, np.int8)), "nothing": pa.nulls(1 << 18)})
    with pytest.raises(OverBudgetError, match="524,288 cells"):
        scanned(tmp_path, encoded(table, form), Budgets(cells=1 << 18))


def test_text_that_is_none_is_told(tmp_path: Path):
    broken = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")])
    with pytest.raises(InvalidInputError, match=r"the Arrow IPC file cannot be read: .*UTF8"):
        scanned(tmp_path, encoded(pa.table({"a": broken}), "arrow"))
