"""Columns that are the same, or that give the target away, are told before any training; a person decides."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from dropout_service.budgets import Budgets
from dropout_service.datasets.decisions import decide
from dropout_service.datasets.resolution import resolve
from dropout_service.datasets.scan import detect_format, scan
from dropout_service.training.spec import TrainingSpec

if TYPE_CHECKING:
    from pathlib import Path

    from dropout_service.datasets.dataset import TableSchema

ROWS = 60_000
RNG = np.random.default_rng(5)
KIND = RNG.integers(0, 3, ROWS)
NUMBER = RNG.normal(size=ROWS).round(6)
TABLE: dict[str, Any] = {
    "number": NUMBER,
    "kind code": KIND + 10,
    "note": [f"text {row} {row % 7}" for row in range(ROWS)],
    "number again": NUMBER,
    "almost": np.where(np.arange(ROWS) == ROWS - 1, 0.5, NUMBER),
    "note again": [f"text {row} {row % 7}" for row in range(ROWS)],
    "coarse": KIND > 0,
    "kind": np.array(["cat", "dog", "fish"])[KIND],
}


def described(tmp_path: Path, form: str, table: dict[str, Any] = TABLE) -> TableSchema:
    arrow = pa.table({name: pa.array(values) for name, values in table.items()})
    path = tmp_path / "content"
    if form == "csv":
        columns = [
            ["true" if value is True else str(value) for value in column.to_pylist()] for column in arrow.columns
        ]
        path.write_text("\n".join(";".join(row) for row in [tuple(table), *zip(*columns, strict=True)]))
    else:
        file = io.BytesIO()
        pyarrow.parquet.write_table(arrow, file, row_group_size=7000)
        path.write_bytes(file.getvalue())
    return scan(path, detect_format(path), Budgets())


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_the_same_and_what_gives_the_target_away(tmp_path: Path, form: str):
    schema = described(tmp_path, form)
    assert {one.name: (one.same_as, one.one_to_one) for one in schema.columns if one.same_as or one.one_to_one} == {
        "number again": ("number", None),
        "note again": ("note", None),
        "kind": (None, "kind code"),
    }
    decisions = {one.name: decide(one, schema, "csv") for one in schema.columns}
    assert {name: one.reason for name, one in decisions.items() if one.reason.startswith("the same")} == {
        "number again": "the same as `number`",
        "note again": "the same as `note`",
    }
    assert not decisions["number again"].use
    warnings = {name: one.warning for name, one in decisions.items() if one.warning and name != "kind"}
    away = "gives the target away: its values go one to one with those of `kind`"
    assert warnings == {"kind code": away}
    assert decisions["kind code"].use


def test_the_target_that_a_job_names_counts(tmp_path: Path):
    schema = described(tmp_path, "csv")
    again = schema.column("number again")
    assert again is not None
    decision = decide(again, schema, "csv", targets=("number",))
    assert (decision.use, decision.warning) == (True, "gives the target away: it is the same as `number`")
    data = {"dataset": "d", "target": "kind", "columns": {"number again": {"use": True}}}
    spec = resolve(schema, "csv", TrainingSpec.model_validate({"task": "classification", "data": data}))
    assert spec.data.columns is not None
    assert "number again" not in spec.data.columns, "used, as a number"
    assert spec.data.columns["note again"].use is False


def test_few_rows_are_alike_by_chance(tmp_path: Path):
    schema = described(tmp_path, "csv", {"a": [1, 2] * 9, "b": [1, 2] * 9, "y": [0, 1] * 9})
    assert [(one.same_as, one.one_to_one) for one in schema.columns] == [(None, None)] * 3


def test_numbers_are_the_same_however_they_are_written_and_gaps_count(tmp_path: Path):
    path = tmp_path / "content"
    path.write_text("a,b,c,y\n" + "1,1.0,1,5\n0,-0,0,6\n,NA,7,8\n" * 10)
    schema = scan(path, "csv", Budgets())
    assert [(one.same_as, one.one_to_one) for one in schema.columns] == [
        (None, None),
        ("a", "a"),
        (None, None),
        (None, "c"),
    ]


@pytest.mark.parametrize("form", ["npy", "npz"])
def test_columns_of_arrays_are_compared_too_and_stay_in_use(tmp_path: Path, form: str):
    x = np.column_stack([NUMBER, KIND + 10, NUMBER, np.where(KIND == 1, np.nan, KIND), KIND == 1])
    path = tmp_path / f"content.{form}"
    if form == "npy":
        np.save(tmp_path / "content.npy", np.column_stack([x, KIND - 0.5]))
    else:
        np.savez(tmp_path / "content.npz", x=x, y=np.array(["cat", "NA", " fish"])[KIND])
    schema = scan(path, detect_format(path), Budgets())
    alike = [(one.same_as, one.one_to_one) for one in schema.columns]
    names = [one.name for one in schema.columns]
    # A text that says that there is no value is a gap, as that of the fourth column.
    partner = names[1] if form == "npy" else names[3]
    assert alike == [(None, None)] * 2 + [(names[0], None)] + [(None, None)] * 2 + [(None, partner)]
    decisions = [decide(one, schema, detect_format(path)) for one in schema.columns[:-1]]
    assert all(one.use for one in decisions)
    assert [names[place] for place, one in enumerate(decisions) if one.warning] == [partner]


@pytest.mark.parametrize("rows", [60, 1000])
def test_few_rows_and_many_are_compared_alike(tmp_path: Path, rows: int):
    path = tmp_path / "content"
    codes = np.arange(rows) * 7 % 5
    lines = [f"{code}.50,{'abcde'[code]},{code + 2},{row % 3}" for row, code in enumerate(codes)]
    path.write_text("\n".join(["a,b,c,y", *lines]))
    schema = scan(path, "csv", Budgets())
    assert [one.one_to_one for one in schema.columns] == [None, "a", "a", None]
    first = schema.columns[0]
    assert [(one.label, one.count) for one in first.classes or ()] == [(k + 0.5, rows // 5) for k in range(5)]
    assert (first.min, first.max, first.mean) == (0.5, 4.5, 2.5)
