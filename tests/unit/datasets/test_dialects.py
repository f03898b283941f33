"""CSV as it is found: encodings, decimal commas, comments, delimiters; a training reads what the schema told."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sqlalchemy import update

from dropout_service.database.engine import writing
from dropout_service.datasets.dataset import CsvOptions, TableSchema
from dropout_service.datasets.loading import check_readable, load_training_data
from dropout_service.datasets.tables import datasets
from dropout_service.errors import InvalidInputError
from dropout_service.training.spec import TrainingSpec

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from dropout_service.blobs import BlobStore
    from dropout_service.datasets.dataset import Dataset
    from dropout_service.datasets.registry import DatasetRegistry

TABLE = "Größe;Stadt;Preis\n1,5;Köln;1.234,50\n-2,25;Zürich;0,5\n;Köln;12.345.678\n3;Brühl;-7\n"
GERMAN = CsvOptions(decimal=",", thousands=".")


def stored(registry: DatasetRegistry, content: bytes, options: CsvOptions) -> Dataset:
    with registry.upload() as upload:
        upload.write(content)
        return registry.add(upload, options=options)[0]


def rows_of(dataset: Dataset, blobs: BlobStore, **data: Any) -> dict[str, Any]:
    spec = TrainingSpec.model_validate({"task": "regression", "data": {"dataset": dataset.id, **data}})
    found = load_training_data(dataset, blobs, spec)
    return {"x": found.x.tolist(), "y": found.y.tolist(), "labels": dict(found.labels)}


@pytest.mark.parametrize(
    ("encoding", "said", "found"),
    [
        ("utf-8", None, None),
        ("utf-8-sig", None, None),
        ("utf-8", "utf-8", "utf-8"),
        ("utf-16", None, "utf-16"),
        ("utf-16-be", "utf-16", None),
        ("utf-16-le", "utf-16", "utf-16"),
        ("cp1252", None, "cp1252"),
        ("latin-1", "latin-1", "latin-1"),
    ],
)
def test_encodings_are_found_or_said_and_told(
    registry: DatasetRegistry, blobs: BlobStore, encoding: str, said: Any, found: str | None
):
    content = TABLE.encode(encoding)
    if encoding == "utf-16-be":  # which is known by its byte order mark
        content, found = b"\xfe\xff" + content, "utf-16"
    dataset = stored(registry, content, replace(GERMAN, encoding=said))
    assert dataset.schema.options.encoding == found
    assert registry.get(dataset.id) == dataset
    assert [(one.name, one.type, one.missing, one.bad) for one in dataset.schema.columns] == [
        ("Größe", "number", 1, 0),
        ("Stadt", "text", 0, 0),
        ("Preis", "number", 0, 0),
    ]
    assert rows_of(dataset, blobs, columns={"Stadt": {"kind": "category"}, "Größe": {"use": False}}) == {
        "x": [[0], [1], [0], [2]],
        "y": [1234.5, 0.5, 12_345_678, -7],
        "labels": {"Stadt": ("Köln", "Zürich", "Brühl")},
    }


def test_a_number_of_another_style_is_text(registry: DatasetRegistry):
    rows = "1,5\n1.5\n1.23,0\n1.234,5\n,5\n1.2345\n+1.000e3\ninf\n"
    dataset = stored(registry, f"a\n{rows}".encode(), replace(GERMAN, delimiter=";"))
    (column,) = dataset.schema.columns
    assert (column.type, column.distinct) == ("text", 8)
    options = replace(GERMAN, delimiter=";")
    many = stored(registry, ("a\n" + "2,5\n" * 60 + rows).encode(), options)
    assert [(cell.row, cell.value) for cell in many.schema.bad_cells] == [
        (62, "1.5"),
        (63, "1.23,0"),
        (66, "1.2345"),
        (68, "inf"),
    ]


def test_comments_and_a_delimiter_that_is_said(registry: DatasetRegistry, blobs: BlobStore):
    content = b"# made by hand\n#\na|b, c|y\n1|x|2\n# not a row|\n3|z # no comment|4\r\n#last"
    dataset = stored(registry, content, CsvOptions(comment="#", delimiter="|"))
    assert [one.name for one in dataset.schema.columns] == ["a", "b, c", "y"]
    found = rows_of(dataset, blobs, columns={"b, c": {"kind": "category"}})
    assert found == {"x": [[1, 0], [3, 1]], "y": [2, 4], "labels": {"b, c": ("x", "z # no comment")}}


def test_a_comment_is_found_wherever_a_chunk_ends(registry: DatasetRegistry):
    lines = [f"{row},{row % 7}\n#{'c' * (row % 50)}, {row}\n" for row in range(200_000)]
    dataset = stored(registry, ("a,b\n" + "".join(lines)).encode(), CsvOptions(comment="#"))
    assert dataset.schema.rows == 200_000
    assert [(one.type, one.bad, one.min, one.max) for one in dataset.schema.columns] == [
        ("integer", 0, 0, 199_999),
        ("integer", 0, 0, 6),
    ]


def test_quotes_behind_spaces(registry: DatasetRegistry, blobs: BlobStore):
    dataset = stored(registry, b'"a", "b", "y"\n1, "x, ""y""", 2\n3,  " z", 4\n', CsvOptions())
    found = rows_of(dataset, blobs, columns={"b": {"kind": "category"}})
    assert found == {"x": [[1, 0], [3, 1]], "y": [2, 4], "labels": {"b": ('x, "y"', "z")}}


def test_text_behind_a_closing_quote_belongs_to_the_cell(registry: DatasetRegistry, blobs: BlobStore):
    dataset = stored(registry, b'a,y\n"1"2,3\n5" pipe,4\n', CsvOptions())
    found = rows_of(dataset, blobs, columns={"a": {"kind": "category"}})
    assert found == {"x": [[0], [1]], "y": [3, 4], "labels": {"a": ("12", '5" pipe')}}


def test_one_character_has_one_meaning(registry: DatasetRegistry):
    with pytest.raises(InvalidInputError, match="',' is both the decimal and the delimiter of the file"):
        stored(registry, b"a,b\n1,2\n", CsvOptions(decimal=",", delimiter=","))


def test_options_are_for_csv(registry: DatasetRegistry):
    with pytest.raises(
        InvalidInputError, match="`header`, `missing`, `encoding` and `comment` are for csv; this is npz"
    ):
        stored(registry, b"PK\x03\x04", CsvOptions(encoding="latin-1", comment="#"))


def test_options_of_a_later_version_do_not_hide_a_dataset(registry: DatasetRegistry, engine: Engine):
    dataset = stored(registry, TABLE.encode(), GERMAN)
    document = dataset.schema.to_json()
    assert document["options"] == {"decimal": ",", "thousands": "."}
    document["options"]["escape"] = "\\"
    with writing(engine) as connection:
        connection.execute(update(datasets).values(schema=document))
    found = registry.get(dataset.id)
    assert found.schema.columns == ()
    with pytest.raises(InvalidInputError, match=r"its stored schema cannot be read .*escape"):
        check_readable(found)


def test_options_that_were_stored_before_there_were_more(registry: DatasetRegistry):
    dataset = stored(registry, b"1,?\n2,3\n", CsvOptions(header=False, missing=("?",)))
    document = {**dataset.schema.to_json(), "options": {"header": False, "missing": ["?"]}}
    assert TableSchema.from_json(document) == dataset.schema


def test_dates_beyond_what_is_usual(registry: DatasetRegistry, blobs: BlobStore):
    days = ["2024-02-29", "20240301", " 2024-03-01T01:30:00+01:30", "2024-W10-1", "", "9999-12-31T23:59:59.999999"]
    dataset = stored(registry, ("day,y\n" + "".join(f"{day},1\n" for day in days)).encode(), CsvOptions())
    assert dataset.schema.columns[0].date
    found = rows_of(dataset, blobs, columns={"day": {"kind": "date"}})
    expected = [1709164800, 1709251200, 1709251200, 1709510400, np.nan, 253402300799.999999]
    np.testing.assert_array_equal(np.array(found["x"])[:, 0], expected)
