"""What becomes the body of an upload; the flow is driven by hand."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from dropout_client import arrays
from dropout_client.datasets import upload_dataset
from dropout_client.flows import Request


class Polars:
    columns = ("a",)

    def write_csv(self) -> str:
        return "a\n1\n"


def request(*arguments: Any, **keywords: Any) -> Request:
    effect = next(upload_dataset(*arguments, **keywords))
    assert isinstance(effect, Request)
    return effect


@pytest.mark.parametrize(
    ("source", "media_type"),
    [
        ("table.csv", "text/csv"),
        (Path("x.NPY"), "application/x-npy"),
        ("arrays.npz", "application/x-npz"),
        (np.eye(2), "application/x-npy"),
        (Polars(), "text/csv"),
        ("t.parquet", "application/vnd.apache.parquet"),
        ("t.feather", "application/vnd.apache.arrow.file"),
        ("t.arrows", "application/vnd.apache.arrow.stream"),
        (pa.table({"a": [1]}), "application/vnd.apache.parquet"),
    ],
)
def test_the_content_type_follows_from_the_source(source: Any, media_type: str):
    assert request(source).headers["Content-Type"] == media_type


def test_a_file_is_not_read_and_gives_its_name():
    made = request("somewhere/pets.csv")
    assert made.body == Path("somewhere/pets.csv")
    assert made.params == {"name": "pets", "header": None, "missing": None}
    assert request("pets.csv", name="dogs").params["name"] == "dogs"


def test_how_a_csv_is_read_is_said():
    said = {"name": "adult", "header": False, "missing": ["?"]}
    assert request("adult.csv", header=False, missing=["?"]).params == said
    assert request("adult.csv", header=False, missing="?").params == said
    dialect: dict[str, Any] = {"encoding": "cp1252", "delimiter": "|", "decimal": ",", "thousands": ".", "comment": "#"}
    assert request("umsatz.csv", **dialect).params == {"name": "umsatz", "header": None, "missing": None, **dialect}


def test_arrays_become_a_reproducible_npz():
    x, y = np.arange(6.0).reshape(3, 2), ["a", "b", "a"]
    body = request(x=x, y=y).body
    assert isinstance(body, bytes)
    assert body == request(x=x, y=y).body
    read = np.load(io.BytesIO(body), allow_pickle=False)
    assert np.array_equal(read["x"], x)
    assert read["y"].tolist() == y


def test_text_held_as_objects_becomes_text_and_other_objects_are_refused():
    body = request(x=np.eye(2), y=np.array(["a", "bc"], dtype=object)).body
    assert isinstance(body, bytes)
    assert np.load(io.BytesIO(body), allow_pickle=False)["y"].tolist() == ["a", "bc"]
    with pytest.raises(TypeError, match="neither all numbers nor all text"):
        request(x=np.eye(2), y=np.array(["a", {}], dtype=object))


@pytest.mark.parametrize(
    ("arguments", "keywords", "fault"),
    [
        ((), {}, "give a `source`, or both"),
        ((), {"x": [[1]]}, "give a `source`, or both"),
        (("a.csv",), {"x": [[1]]}, "either a `source`, or"),
        ((b"a,b",), {}, "which `format` the bytes have: one of csv, npy, npz"),
    ],
)
def test_what_is_missing_is_said(arguments: tuple[Any, ...], keywords: dict[str, Any], fault: str):
    with pytest.raises(TypeError, match=fault):
        request(*arguments, **keywords)


def test_features_are_floats_whatever_they_were():
    for value in ([[1, 2]], np.array([[True, False]]), np.array([[1, 2.5]], dtype=object)):
        assert arrays.to_features(value).dtype == np.float64
    assert arrays.to_features(np.float32([[1]])).dtype == np.float32


class Frame:
    """What pandas and polars give of a data frame."""

    columns = ("a",)

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)


def test_a_data_frame_is_sent_as_parquet():
    table = pa.table({"a": ["01", None], "b": [1.5, 2.5]}, metadata={"pandas": "{}"})
    body = request(Frame(table)).body
    assert isinstance(body, bytes)
    read = pyarrow.parquet.read_table(io.BytesIO(body))
    assert read.equals(table)
    assert read.schema.metadata is None


def test_without_pyarrow_a_data_frame_is_sent_as_csv(monkeypatch: pytest.MonkeyPatch):
    class Both(Frame, Polars):
        pass

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert request(Both(pa.table({"a": [1]}))).headers["Content-Type"] == "text/csv"
    with pytest.raises(TypeError, match="needs pyarrow"):
        request(Frame(pa.table({"a": [1]})))
