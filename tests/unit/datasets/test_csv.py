from __future__ import annotations

import csv
import io
import math
import statistics
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dropout_service.budgets import Budgets
from dropout_service.datasets.cells import MISSING
from dropout_service.datasets.csv_text.table import CsvTable
from dropout_service.datasets.scan import scan
from dropout_service.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dropout_service.datasets.dataset import TableSchema

    Scan = Callable[[str | bytes], TableSchema]


@pytest.fixture
def scanned(tmp_path: Path) -> Scan:
    def scan_content(content: str | bytes) -> TableSchema:
        path = tmp_path / "table.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return scan(path, "csv", Budgets())

    return scan_content


def types(schema: TableSchema) -> dict[str, str]:
    return {column.name: column.type for column in schema.columns}


def test_types_missing_values_and_classes(scanned: Scan):
    schema = scanned(
        "id,height,smokes,kind,note\n1,1.5,true,cat,\n2,NA,FALSE,dog,\n3,2.5,True, cat ,\n4,nan,null,N/A,NaN\n"
    )
    assert schema.rows == 4
    assert schema.target == "note"
    assert types(schema) == {
        "id": "integer",
        "height": "number",
        "smokes": "boolean",
        "kind": "text",
        "note": "empty",
    }
    assert [column.missing for column in schema.columns] == [0, 2, 1, 1, 4]
    height = schema.column("height")
    assert height is not None
    assert (height.min, height.max, height.mean, height.std) == (1.5, 2.5, 2.0, 0.5)
    counts = {
        column.name: [(c.label, c.count) for c in column.classes or ()]
        for column in schema.columns
        if column.name in {"smokes", "kind", "id"}
    }
    assert counts == {
        "id": [(1, 1), (2, 1), (3, 1), (4, 1)],
        "smokes": [(False, 1), (True, 2)],
        "kind": [("cat", 2), ("dog", 1)],
    }


def test_whole_numbers_are_integers_however_they_are_written(scanned: Scan):
    schema = scanned("a,b,c,d\n1.0,1e3,9007199254740993,-0\n2,5.,1,+7\n")
    assert types(schema) == {"a": "integer", "b": "integer", "c": "number", "d": "integer"}
    assert [c.label for c in schema.columns[0].classes or ()] == [1, 2]
    assert isinstance((schema.columns[0].classes or ())[0].label, int)


@pytest.mark.parametrize("cell", ["1_000", "٣", "0x10", "1,5", "--1", "1e", "infinite", "½"])
def test_what_only_python_takes_for_a_number_is_text(scanned: Scan, cell: str):
    schema = scanned(f'a;b\n1;"{cell}"\n2;"{cell}"\n')
    assert types(schema) == {"a": "integer", "b": "text"}


def test_bad_cells_are_named_by_row_and_column(scanned: Scan):
    rows = [f"{i};{i}" for i in range(40)]
    rows[16] = "16;oops"
    rows[20] = "20;1,5"
    rows[21] = "inf;21"
    schema = scanned("\n".join(["a;b", *rows]))
    assert types(schema) == {"a": "integer", "b": "integer"}
    assert [(c.row, c.column, c.value, c.message) for c in schema.bad_cells] == [
        (22, "a", "inf", "is not finite"),
        (17, "b", "oops", "is not a number"),
        (21, "b", "1,5", "is not a number; write decimals with a point"),
    ]
    assert [column.bad for column in schema.columns] == [1, 2]
    a = schema.column("a")
    assert a is not None
    assert a.max == 39
    assert a.distinct == 39


def test_a_tenth_of_text_makes_a_column_of_text(scanned: Scan):
    assert types(scanned("a\n" + "1\n" * 90 + "x\n" * 10)) == {"a": "integer"}
    schema = scanned("a\n" + "1\n" * 89 + "x\n" * 11)
    assert types(schema) == {"a": "text"}
    assert schema.bad_cells == ()


def test_distinct_values_are_exact_up_to_the_bound(scanned: Scan):
    schema = scanned("a,b\n" + "".join(f"{i},{i % 10_000}\n" for i in range(10_001)))
    a, b = schema.columns
    assert (a.distinct, a.distinct_exact, a.classes) == (10_000, False, None)
    assert (b.distinct, b.distinct_exact, b.classes) == (10_000, True, None)


def test_constant_columns_are_flagged(scanned: Scan):
    schema = scanned("a,b,c\n1,x,1\n1.0,x,2\n,x,2\n")
    assert [column.constant for column in schema.columns] == [True, True, False]


def test_quoting_of_rfc_4180(scanned: Scan):
    schema = scanned('"name","a ""b"""\r\n"line\r\nbreak, and comma","x ""y"""\r\n"",z\r\n')
    assert [column.name for column in schema.columns] == ["name", 'a "b"']
    assert [c.label for c in schema.columns[0].classes or ()] == ["line\r\nbreak, and comma"]
    assert [c.label for c in schema.columns[1].classes or ()] == ['x "y"', "z"]
    assert schema.columns[0].missing == 1


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_delimiters_byte_order_mark_and_line_ends(scanned: Scan, delimiter: str, start: str, end: str):
    lines = [delimiter.join(cells) for cells in (("ä", "b", "c"), ("1", "2", "x"), ("3", "4", "y"), ())]
    schema = scanned(start + end.join(lines))
    assert types(schema) == {"ä": "integer", "b": "integer", "c": "text"}
    assert schema.rows == 2


def test_decimal_commas_do_not_make_a_comma_the_delimiter(scanned: Scan):
    assert list(types(scanned("a;b\n1,5;2,5\n3,5;4,5\n"))) == ["a", "b"]


def test_one_column_and_blank_lines(scanned: Scan):
    schema = scanned("price\n\n1\n2\n\n3\n\n")
    assert (schema.rows, types(schema)) == (3, {"price": "integer"})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty"),
        ("\n\n", "the file is empty"),
        ("a,b\n", "a header but no rows"),
        ("a,b\n1,2\n3\n", "row 2 has 1 cells, but the header has 2 columns"),
        ("a,b\n1,2\n3,4,5\n", "row 2 has 3 cells, but the header has 2 columns; is a cell with the delimiter"),
        ("a,a,b\n1,2,3\n", "names more than one column 'a'"),
        ("a,,b,\n1,2,3,4\n", "no name for column 2, 4 of 4"),
        (",a\n0,2\n", "index=False"),
        ('a,b\n1,2\n"3,4\n', "line 3: a quoted cell is never closed"),
        ("5.1,3.5,setosa\n4.9,3.0,virginica\n", "looks like data; give a header row"),
        ("1,2,3\n4,5,6\n", "looks like data"),
        ("1,2\n", "looks like data"),
        (b'a,b\n1,2\n3,"4\n5,6\n', "row 2, line 3: a quoted cell is never closed"),
        (b"a,\xc3\xa4\n1,2\n3,\xe9t\xe9\n", r"byte 11 of the file \(0xe9\) is not UTF-8"),
        (b"a,\xc3\xa4\n1,\xc3", r"byte 7 of the file \(0xc3\) is not UTF-8"),
        ("a,\u00e4\n".encode() + b"1,2\n" * 500_000 + b"\xff\n", r"byte 2000005 of the file \(0xff\)"),
        (b"a,b\n1,2\n3,\x81\n", r"byte 10 of the file \(0x81\) is not CP1252"),
        ("a,b\n1,2\n".encode("utf-16") + b"\x00", "byte 18 of the file .* is not UTF-16"),
        (b"a,b\n" + b"1,2\n" * 20 + b"x" * 131_073 + b",1\n", "row 21, column `a`: a cell has more than 131,072"),
        (b"a,b\n" + b"1,2\n" * 99 + b'3,"' + b"x,y\n" * (1 << 22), "row 100, line 101 has more than 4,194,304"),
        (b"\x7fELF\x00\x00,\n1,2", "not text"),
        (b"x" * 200_000, "line 1: a cell has more than 131,072 characters"),
        ("a," * (1 << 23) + "b", "line 1 has more than 16,777,216 characters"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(scanned: Scan, content: str | bytes, message: str):
    with pytest.raises(InvalidInputError, match=message):
        scanned(content)


@pytest.mark.parametrize(
    "content",
    ["label,0,1,2\nx,5,3,1\n", "country,1990,1991\nDE,4,5.5\n", "name,2\nx,y\n", "1a,2b\n3,4\n"],
)
def test_headers_with_numbers_in_them_are_headers(scanned: Scan, content: str):
    assert scanned(content).rows == 1


def test_an_error_far_down_names_the_row_not_the_block(scanned: Scan):
    with pytest.raises(InvalidInputError, match="row 100001 has 1 cells"):
        scanned("a,b\n" + "1,2\n" * 100_000 + "3\n")


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=8)


@settings(deadline=None)
@given(st.integers(1, 4).flatmap(lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width), min_size=1)))
def test_blocks_are_what_was_written(tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]):
    names = [f"column {index}" for index in range(len(rows[0]))]
    file = io.StringIO()
    csv.writer(file, quoting=csv.QUOTE_ALL).writerows([names, *rows])
    path = tmp_path_factory.getbasetemp() / "blocks.csv"
    path.write_text(file.getvalue(), encoding="utf-8", newline="")
    table = CsvTable(path)
    assert list(table.names) == names
    read = [list(cells) for _, block in table.blocks() for cells in zip(*map(pa.Array.to_pylist, block), strict=True)]
    assert read == [[None if cell in MISSING else cell for cell in row] for row in rows]


@settings(deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50), st.floats(-1e9, 1e9))
def test_moments_agree_with_the_standard_library(
    tmp_path_factory: pytest.TempPathFactory, values: list[float], shift: float
):
    values = [value + shift for value in values]
    path = tmp_path_factory.getbasetemp() / "moments.csv"
    path.write_text("\n".join(["a,z", *(f"{value!r},z" for value in values)]))
    column = scan(path, "csv", Budgets()).columns[0]
    assert column.min == min(values)
    assert column.max == max(values)
    assert column.mean is not None
    assert column.std is not None
    assert math.isclose(column.mean, statistics.fmean(values), rel_tol=1e-12, abs_tol=1e-6)
    assert math.isclose(column.std, statistics.pstdev(values), rel_tol=1e-6, abs_tol=1e-5)
    assert column.distinct == len(set(values))
