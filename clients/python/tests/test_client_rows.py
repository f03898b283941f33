"""What ``predict`` makes of the rows that people hold."""

from __future__ import annotations

import io
import json
import sys
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from dropout_client.flows import Request
from dropout_client.predictions import predict

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def request(rows: Any, **options: Any) -> Request:
    effect = next(predict("model_1", rows, **options))
    assert isinstance(effect, Request)
    return effect


class Frame:
    """A data frame, as far as the client looks at one."""

    columns = ("a", "b")

    def to_csv(self, *, index: bool) -> str:
        assert not index
        return "a,b\n1,x\n,y\n"


class ArrowTable:
    """An Arrow table, likewise."""

    column_names = ("a", "when")

    def to_pylist(self) -> list[dict[str, Any]]:
        return [{"a": 1.5, "when": date(2026, 11, 27)}, {"a": None, "when": None}]


def test_a_frame_goes_as_csv_by_the_names_of_its_columns():
    sent = request(Frame(), mc_samples=5, seed=3)
    assert (sent.headers["Content-Type"], sent.body) == ("text/csv", b"a,b\n1,x\n,y\n")
    assert sent.params == {"mc_samples": 5, "seed": 3}


class Stream:
    """What only gives its rows as a stream of Arrow."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)


@pytest.mark.parametrize("make", [Stream, pa.table, pa.Table.to_reader])
def test_what_gives_a_stream_of_arrow_goes_as_parquet(make: Callable[[pa.Table], Any]):
    table = pa.table({"b": ["x", None], "a": [1.5, 2.5]})
    sent = request(make(table))
    assert sent.headers["Content-Type"] == "application/vnd.apache.parquet"
    assert isinstance(sent.body, bytes)
    assert pyarrow.parquet.read_table(io.BytesIO(sent.body)).equals(table)


def test_without_pyarrow_it_is_asked_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(TypeError, match="a Stream is sent as Parquet, which needs pyarrow: pip install pyarrow"):
        request(Stream(pa.table({"a": [1]})))


def test_what_parquet_cannot_keep_is_told():
    union = pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1])])
    with pytest.raises(ValueError, match="the Stream cannot be made a Parquet file: Unhandled type"):
        request(Stream(pa.table({"a": union})))


@pytest.mark.parametrize(
    ("rows", "records"),
    [
        ([{"a": 1, "b": "x"}, {"b": None, "a": float("nan")}], [{"a": 1, "b": "x"}, {"b": None, "a": None}]),
        ([{"a": np.float32(0.5), "b": np.int64(3)}], [{"a": 0.5, "b": 3}]),
        (({"a": True},), [{"a": True}]),
        (ArrowTable(), [{"a": 1.5, "when": "2026-11-27"}, {"a": None, "when": None}]),
    ],
    ids=["dictionaries", "NumPy values", "a tuple", "an Arrow table"],
)
def test_records_go_as_json(rows: Any, records: list[dict[str, Any]]):
    sent = request(rows)
    assert sent.headers["Content-Type"] == "application/json"
    assert isinstance(sent.body, bytes)
    assert json.loads(sent.body) == {"records": records}


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("rows.csv", "text/csv"),
        ("rows.txt", "text/csv"),
        ("rows.parquet", "application/vnd.apache.parquet"),
        ("rows.feather", "application/vnd.apache.arrow.file"),
    ],
)
def test_a_file_goes_as_it_is(tmp_path: Path, name: str, media_type: str):
    sent = request(tmp_path / name)
    assert (sent.headers["Content-Type"], sent.body) == (media_type, tmp_path / name)


def test_an_npy_file_is_read_and_made_of_floats(tmp_path: Path):
    np.save(tmp_path / "rows.npy", np.array([[1, 2]]))
    sent = request(tmp_path / "rows.npy")
    assert isinstance(sent.body, bytes)
    np.testing.assert_array_equal(np.load(io.BytesIO(sent.body)), [[1.0, 2.0]])


@pytest.mark.parametrize("rows", [[[1, 2], [3, 4]], np.ones((2, 2), np.float32)])
def test_numbers_go_as_an_array(rows: Any):
    assert request(rows).headers["Content-Type"] == "application/x-npy"


def test_what_json_does_not_know_is_told():
    with pytest.raises(TypeError, match="neither a number, nor text"):
        request([{"a": object()}])
