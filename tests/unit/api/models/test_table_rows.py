"""Tables of rows to predict: in every form that a dataset may have, for every kind of column."""

from __future__ import annotations

import io
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet
import pytest
import waiting

from dropout_service.api.models.table_rows import rows_of_columnar, rows_of_csv
from dropout_service.api.state import Limits
from dropout_service.budgets import Budgets
from dropout_service.datasets.dataset import COLUMNAR
from dropout_service.datasets.reader import Reader
from dropout_service.datasets.rows.feature import Feature
from dropout_service.datasets.rows.table import write_rows
from dropout_service.errors import InvalidInputError, OverBudgetError, StorageFullError, UnavailableError
from dropout_service.models.prediction import predict
from dropout_service.models.rows import rows_of_records
from dropout_service.training.data import TrainingData
from dropout_service.training.spec import TrainingSpec
from dropout_service.training.trainer import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dropout_service.datasets.dataset import ColumnarFormat
    from dropout_service.models.rows import Rows
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


def content_of(table: pa.Table, form: ColumnarFormat) -> bytes:
    file = io.BytesIO()
    if form == "parquet":
        pyarrow.parquet.write_table(table, file)
        return file.getvalue()
    with (pyarrow.ipc.new_file if form == "arrow" else pyarrow.ipc.new_stream)(file, table.schema) as writer:
        writer.write_table(table)
    return file.getvalue()


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    reader = Reader()
    yield reader
    reader.close()


@pytest.fixture(scope="module")
def read(model: TrainedModel, reader: Reader) -> Callable[..., Rows]:
    def read_rows(table: Any, form: ColumnarFormat = "parquet", **limits: Any) -> Rows:
        content = table if isinstance(table, bytes) else content_of(pa.table(table), form)
        return rows_of_columnar(model, content, form, reader, Limits(**limits))

    return read_rows


RECORDS: list[dict[str, Any]] = [
    {"a": 1.5, "member": True, "code": "007", "day": "1970-01-02", "other": 1},
    {"a": None, "member": None, "code": None, "day": None, "other": 2},
    {"a": -2.0, "member": False, "code": "new", "day": "1980-06-30", "other": 3},
]


@pytest.mark.parametrize("form", COLUMNAR)
def test_typed_columns_predict_what_records_do(model: TrainedModel, read: Callable[..., Rows], form: ColumnarFormat):
    days = [date(1970, 1, 2), None, date(1980, 6, 30)]
    moments = [None if day is None else datetime(day.year, day.month, day.day, tzinfo=UTC) for day in days]
    expected = predict(model, rows_of_records(model, RECORDS), mc_samples=3, seed=1)
    assert expected.values is not None
    assert expected.std is not None
    for table in (
        pa.Table.from_pylist(RECORDS),
        {
            "code": pa.array(["007", None, "new"]).dictionary_encode(),
            "day": days,
            "member": [1, None, 0],
            "a": pa.array([1.5, None, -2.0], pa.float32()),
        },
        {
            "day": pa.array(moments, pa.timestamp("ns", "UTC")),
            "a": [Decimal("1.5"), None, Decimal("-2.0")],
            "code": pa.array(["007", None, "new"], pa.string_view()),
            "member": pa.array(["true", "", "False"], pa.large_string()),
            "left aside": [[1], [2, 3], None],
        },
    ):
        found = predict(model, read(table, form), mc_samples=3, seed=1)
        assert found.values is not None
        assert found.std is not None
        assert (found.values.tobytes(), found.std.tobytes()) == (expected.values.tobytes(), expected.std.tobytes())


def test_numbers_may_be_categories(read: Callable[..., Rows]):
    rows = read({"a": pa.nulls(4), "member": [True] * 4, "code": [2.5, 1.0, None, 7.0], "day": pa.nulls(4)})
    texts = rows.texts[2]
    assert [None if np.isnan(place) else texts[int(place)] for place in rows.x[:, 2]] == ["2.5", "1", None, "7"]


GOOD: dict[str, Any] = {"a": [1, 2], "member": [True, False], "code": ["x", "y"], "day": [date(1970, 1, 2)] * 2}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"a": ["1", "large"]}, "row 1, column `a`: '1' is not a number (the column is a number)"),
        ({"a": [1.0, float("inf")]}, "row 2, column `a`: inf is not finite"),
        ({"a": [True, False]}, "row 1, column `a`: 'true' is not a number"),
        ({"a": [[1.0], [2.0]]}, "column `a` is list<element: double>, which no model takes"),
        ({"member": [1, 2]}, "row 2, column `member`: 2 is neither true nor false"),
        ({"member": [None, "yes"]}, "row 2, column `member`: 'yes' is neither true nor false"),
        ({"day": [None, 5]}, "row 2, column `day`: 5 is not a date or time of ISO 8601"),
        ({"day": [None, "24.12.2024"]}, "row 2, column `day`: '24.12.2024' is not a date"),
        ({"code": None, "codes": ["x", "y"]}, "column `code` is missing; did you mean `code` by `codes`?"),
        ({"a": None}, "column `a` is missing"),
    ],
)
def test_what_is_wrong_in_a_file_is_told_with_its_place(
    read: Callable[..., Rows], change: dict[str, Any], message: str
):
    columns = {name: values for name, values in (GOOD | change).items() if values is not None}
    with pytest.raises(InvalidInputError) as caught:
        read(columns)
    assert message in caught.value.message


@pytest.mark.parametrize("form", COLUMNAR)
def test_a_file_without_rows_and_damaged_ones_are_refused(read: Callable[..., Rows], form: ColumnarFormat):
    table = pa.table(GOOD)
    with pytest.raises(InvalidInputError, match="the file has no rows"):
        read(table.slice(0, 0), form)
    whole = content_of(table, form)
    for content in (whole[: len(whole) // 2], whole[:12], whole[:8] + b"\xff" * (len(whole) - 16) + whole[-8:]):
        with pytest.raises((InvalidInputError, OverBudgetError)):
            read(content, form)


@pytest.mark.parametrize("form", COLUMNAR)
def test_cells_are_bounded(read: Callable[..., Rows], form: ColumnarFormat):
    table = {"a": pa.nulls(2000), "member": pa.nulls(2000), "code": pa.nulls(2000), "day": pa.nulls(2000)}
    assert len(read(table, form, budgets=Budgets(prediction_cells=8000)).x) == 2000
    with pytest.raises(OverBudgetError, match="8,000 cells to predict from") as caught:
        read(table, form, budgets=Budgets(prediction_cells=7999))
    assert caught.value.excess.setting == "DROPOUT_SERVICE_MAX_PREDICTION_CELLS"


def test_cells_are_bounded_before_any_is_read(read: Callable[..., Rows]):
    content = bytearray(content_of(pa.table({**GOOD, "a": [1.0, 2.0]}), "parquet"))
    content[4:20] = b"\xff" * 16  # the first page, which nothing can read
    with pytest.raises(InvalidInputError, match="the Parquet file cannot be read"):
        read(bytes(content))
    with pytest.raises(OverBudgetError, match="8 cells to predict from"):
        read(bytes(content), budgets=Budgets(prediction_cells=7))


def test_texts_are_bounded_by_what_a_body_may_have(read: Callable[..., Rows]):
    table = {**GOOD, "code": ["x" * 3000, "y" * 3000]}
    with pytest.raises(OverBudgetError, match="texts of the file unpack to more than 5,000 characters") as caught:
        read(table, max_body_bytes=5000)
    assert (caught.value.excess.setting, caught.value.excess.value) == ("DROPOUT_SERVICE_MAX_BODY_BYTES", 6000)


def test_a_full_disk_is_told(model: TrainedModel, tmp_path: Path):
    path = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(pa.table(GOOD), path)
    features = [Feature("a", "number")]
    with pytest.raises(StorageFullError, match="cannot write rows to predict: No space left on device"):
        write_rows(path, "parquet", features, Budgets(), into=Path("/dev/full"), max_chars=100)
    reader = Reader(scratch_dir=tmp_path / "no such folder")
    with pytest.raises(UnavailableError, match="cannot write rows to predict: No such file or directory"):
        rows_of_columnar(model, path.read_bytes(), "parquet", reader, Limits())


def test_a_disk_that_is_full_for_the_reader_is_told(
    model: TrainedModel, reader: Reader, monkeypatch: pytest.MonkeyPatch
):
    file = Reader._file
    monkeypatch.setattr(Reader, "_file", lambda *args: file(*args) if len(args) > 2 else "/dev/full")
    with pytest.raises(StorageFullError, match="cannot write rows to predict"):
        rows_of_columnar(model, content_of(pa.table(GOOD), "parquet"), "parquet", reader, Limits())


def test_a_crash_of_the_reader_is_told_and_others_go_on(
    reader: Reader, read: Callable[..., Rows], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    assert len(read(GOOD).x) == 2
    server = reader._server
    assert server is not None
    children = psutil.Process(server.pid).children
    waiting.wait_for(lambda: not children(), "the end of the child that has read", patience_s=20)
    with monkeypatch.context() as patch, ThreadPoolExecutor(1) as pool:
        os.mkfifo(tmp_path / "pipe")  # which nobody ever writes to
        patch.setattr(Reader, "_file", lambda *_: str(tmp_path / "pipe"))
        told = pool.submit(read, GOOD)
        (child,) = waiting.wait_for(children, "a child that reads", patience_s=20)
        child.send_signal(signal.SIGSEGV)
        with pytest.raises(InvalidInputError, match=r"the reader ended by signal 11 \(SIGSEGV\)"):
            told.result(30)
    assert len(read(GOOD).x) == 2
