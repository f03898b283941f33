"""What ``predict`` makes of the rows that people hold."""

from __future__ import annotations

import io
import json
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dropout_client.flows import Request
from dropout_client.predictions import predict

if TYPE_CHECKING:
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


def test_a_csv_file_goes_as_it_is(tmp_path: Path):
    path = tmp_path / "rows.csv"
    path.write_bytes(b"content")
    sent = request(path)
    assert (sent.headers["Content-Type"], sent.body) == ("text/csv", path)


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
