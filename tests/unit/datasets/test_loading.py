from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dropout_service.budgets import Budgets
from dropout_service.datasets.inline import from_arrays
from dropout_service.datasets.loading import check, load_training_data
from dropout_service.datasets.registry import DatasetRegistry
from dropout_service.datasets.resolution import resolve
from dropout_service.errors import InvalidInputError, NotFoundError
from dropout_service.scratch import Scratch
from dropout_service.training.identity import Identity
from dropout_service.training.spec import TrainingSpec

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Engine

    from dropout_service.blobs import BlobStore
    from dropout_service.datasets.dataset import Dataset

HOUSES = b"""area,rooms,garden,city,price
50,2,true,Ulm,100.5
70,3,false, Bonn ,150.25
90,4,True,Ulm,210
120,5,FALSE,Bonn,300
"""


def spec(task: str = "classification", *, validation_fraction: float = 0.25, **data: Any) -> TrainingSpec:
    return TrainingSpec.model_validate(
        {"task": task, "validation_fraction": validation_fraction, "data": {"dataset": "sha256-0", **data}}
    )


def faults(dataset: Dataset, checked: TrainingSpec) -> dict[str, str]:
    with pytest.raises(InvalidInputError) as caught:
        check(dataset.schema, resolve(dataset.schema, dataset.format, checked), Budgets())
    found: dict[str, str] = {}
    for error in caught.value.errors:
        found[error.pointer] = f"{found.get(error.pointer, '')}{error.message}\n"
    return found


@pytest.fixture
def houses(registry: DatasetRegistry) -> Dataset:
    return registry.add_content(HOUSES)


def test_a_table_with_texts_gaps_and_dates(registry: DatasetRegistry, blobs: BlobStore):
    content = """when,city,size,member,code,price
2024-01-01,Ulm,50,true,1,100
2024-01-02, Bonn ,,false,2,
2024-01-03,Ulm,70,,1.0,300
,NA,80,true,2,400
"""
    dataset = registry.add_content(content.encode())
    checked = spec("regression", columns={"when": {"kind": "date"}, "code": {"kind": "category"}})
    resolved = resolve(dataset.schema, dataset.format, checked)
    check(dataset.schema, resolved, Budgets())
    data = load_training_data(dataset, blobs, resolved)
    assert data.feature_names == ("when", "city", "size", "member", "code")
    assert data.labels == {"city": ("Ulm", "Bonn"), "code": ("1", "2")}
    day_s, nan = 86_400, np.nan
    first = 19_723 * day_s
    np.testing.assert_array_equal(
        data.x, [[first, 0, 50, 1, 0], [first + 2 * day_s, 0, 70, nan, 0], [nan, nan, 80, 1, 1]]
    )
    np.testing.assert_array_equal(data.y, [100, 300, 400]), "rows without a target are left out"


def test_a_cell_that_is_no_date_is_told_with_its_row(registry: DatasetRegistry, blobs: BlobStore):
    dataset = registry.add_content(b"when,y\n2024-01-01,1\n24.12.2024,2\n")
    checked = spec("regression", columns={"when": {"kind": "date"}})
    with pytest.raises(
        InvalidInputError, match=r"row 2, column `when`: '24.12.2024' is not a date or time of ISO 8601"
    ):
        load_training_data(dataset, blobs, checked)


def test_a_text_target_without_a_value_leaves_the_row_out(registry: DatasetRegistry, blobs: BlobStore):
    dataset = registry.add_content(b"a,y\n1,u\n2,\n3,v\n4,u\n")
    data = load_training_data(dataset, blobs, spec(validation_fraction=0))
    assert (data.x[:, 0].tolist(), data.y.tolist(), data.classes) == ([1, 3, 4], [0, 1, 0], ("u", "v"))


def test_numbers_of_an_array_may_be_categories(registry: DatasetRegistry, blobs: BlobStore):
    dataset = registry.add_content(from_arrays([[3.0, 1], [5.5, 2], [3.0, 3], [5.5, 4]], [1.0, 2, 3, 4]))
    checked = spec("regression", columns={"x0": {"kind": "category"}})
    data = load_training_data(dataset, blobs, resolve(dataset.schema, dataset.format, checked))
    assert data.labels == {"x0": ("3", "5.5")}
    np.testing.assert_array_equal(data.x, [[0, 1], [1, 2], [0, 3], [1, 4]])


def test_regression_by_names(houses: Dataset, blobs: BlobStore):
    data = load_training_data(houses, blobs, spec("regression", target="price", features=["garden", "area"]))
    np.testing.assert_array_equal(data.x, [[1, 50], [0, 70], [1, 90], [0, 120]])
    np.testing.assert_array_equal(data.y, [100.5, 150.25, 210, 300])
    assert data.x.dtype == data.y.dtype == np.float64
    assert data.x.flags.f_contiguous
    assert (data.feature_names, data.target_name, data.classes) == (("garden", "area"), "price", None)


@pytest.mark.parametrize(
    ("target", "classes", "y"),
    [
        ("city", ("Bonn", "Ulm"), [1, 0, 1, 0]),
        ("garden", (False, True), [1, 0, 1, 0]),
        ("rooms", (2, 3, 4, 5), [0, 1, 2, 3]),
        ("price", (100.5, 150.25, 210.0, 300.0), [0, 1, 2, 3]),
    ],
)
def test_class_labels_keep_their_type_and_order(
    houses: Dataset, blobs: BlobStore, target: str, classes: tuple[Any, ...], y: list[int]
):
    checked = spec(target=target, features=["area"], validation_fraction=0)
    data = load_training_data(houses, blobs, checked)
    assert data.classes == classes
    assert [type(label) for label in data.classes] == [type(label) for label in classes]
    assert data.y.tolist() == y
    assert data.y.dtype == np.int64


def test_numbers_sort_as_numbers(registry: DatasetRegistry, blobs: BlobStore):
    dataset = registry.add_content(b"a,b\n1,10\n2,9\n3,10\n4,9\n")
    assert load_training_data(dataset, blobs, spec()).classes == (9, 10)


def test_the_last_column_is_the_default_target_and_the_others_the_features(registry: DatasetRegistry, blobs: BlobStore):
    dataset = registry.add_content(b"a,b,c\n1,2,3\n4,5,6\n7,8,10\n")
    data = load_training_data(dataset, blobs, spec("regression"))
    assert (data.feature_names, data.target_name) == (("a", "b"), "c")
    np.testing.assert_array_equal(data.x, [[1, 2], [4, 5], [7, 8]])


def test_npy_and_its_columns(registry: DatasetRegistry, blobs: BlobStore):
    array = np.asfortranarray(np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32))
    file = io.BytesIO()
    np.save(file, array)
    dataset = registry.add_content(file.getbuffer())
    data = load_training_data(dataset, blobs, spec("regression", target="c1", features=["c3", "c0"]))
    np.testing.assert_array_equal(data.x, array[:, [3, 0]].astype(float))
    np.testing.assert_array_equal(data.y, array[:, 1].astype(float))
    assert data.x.flags.f_contiguous


@pytest.mark.parametrize(
    ("y", "classes"),
    [(["b", "a", "b", "a"], ("a", "b")), ([1, 0, 1, 0], (0, 1)), ([True, False, True, False], (False, True))],
)
def test_inline_arrays(registry: DatasetRegistry, blobs: BlobStore, y: list[Any], classes: tuple[Any, ...]):
    dataset = registry.add_content(from_arrays([[0, 0.5], [1, 1.5], [2, 2.5], [3, 3.5]], y))
    data = load_training_data(dataset, blobs, spec())
    assert data.classes == classes
    assert (data.feature_names, data.target_name) == (("x0", "x1"), "y")
    assert data.y.tolist() == [1, 0, 1, 0]
    np.testing.assert_array_equal(data.x[:, 1], [0.5, 1.5, 2.5, 3.5])


def test_npz_with_another_target_than_y(registry: DatasetRegistry, blobs: BlobStore):
    dataset = registry.add_content(from_arrays([[0, 5.5], [1, 6.5], [2, 7.5]], [7, 8, 9]))
    data = load_training_data(dataset, blobs, spec("regression", target="x1"))
    assert data.feature_names == ("x0", "y")
    np.testing.assert_array_equal(data.x, [[0, 7], [1, 8], [2, 9]])
    np.testing.assert_array_equal(data.y, [5.5, 6.5, 7.5])
    only_x = load_training_data(dataset, blobs, spec("regression", target="x1", features=["x0"]))
    np.testing.assert_array_equal(only_x.x, [[0], [1], [2]])


def test_several_targets_in_the_order_of_their_names(houses: Dataset, registry: DatasetRegistry, blobs: BlobStore):
    data = load_training_data(houses, blobs, spec("regression", target=["price", "rooms"], features=["area"]))
    np.testing.assert_array_equal(data.x, [[50], [70], [90], [120]])
    np.testing.assert_array_equal(data.y, [[100.5, 2], [150.25, 3], [210, 4], [300, 5]])
    assert (data.target_names, data.target_name) == (("price", "rooms"), "price, rooms")
    content = registry.add_content(b"a,b,c,often\n1,2,3,4\n5,6,7,8\n")
    rest = load_training_data(content, blobs, spec("regression", target=["c", "a"], weight="often"))
    assert rest.feature_names == ("b",)
    np.testing.assert_array_equal(rest.x, [[2], [6]])
    np.testing.assert_array_equal(rest.y, [[3, 1], [7, 5]])
    np.testing.assert_array_equal(rest.weights, [4, 8])


@pytest.mark.parametrize(
    ("targets", "pointer", "message"),
    [
        (["price", "floor"], "/data/target/1", 'there is no column "floor"'),
        (["price", "rooms", "price"], "/data/target/2", "`price` is named twice"),
        (["price", "area"], "/data/features/0", "`area` is the target"),
        (["price", "city"], "/task", "target `city` is text"),
    ],
)
def test_what_cannot_be_one_of_several_targets(houses: Dataset, targets: list[str], pointer: str, message: str):
    found = faults(houses, spec("regression", target=targets, features=["area"]))
    assert list(found) == [pointer]
    assert message in found[pointer]


WEIGHTED = b"""area,how_often,city,below,none,gaps,price
50,2,Ulm,1,0,1,100.5
70,0,Bonn,-1,0,,150.25
90,1.5,Ulm,1,0,1,210
"""


def test_a_column_of_weights_is_no_feature(registry: DatasetRegistry, blobs: BlobStore):
    dataset = registry.add_content(WEIGHTED)
    by_name = load_training_data(dataset, blobs, spec("regression", weight="how_often", features=["area"]))
    np.testing.assert_array_equal(by_name.x, [[50], [70], [90]])
    assert by_name.weights is not None
    np.testing.assert_array_equal(by_name.weights, [2, 0, 1.5])
    assert by_name.x.flags.f_contiguous
    two = registry.add_content(b"area,how_often,price\n1,2,3\n4,5,6\n")
    others = load_training_data(two, blobs, spec("regression", weight="how_often"))
    assert others.feature_names == ("area",)
    assert load_training_data(two, blobs, spec("regression")).weights is None


@pytest.mark.parametrize(
    ("weight", "pointer", "message"),
    [
        ("often", "/data/weight", 'there is no column "often"'),
        ("price", "/data/weight", "`price` is the target"),
        ("city", "/data/weight", "column `city` is text; a weight is a number, 0 or more"),
        ("below", "/data/weight", "weight `below` goes down to -1"),
        ("none", "/data/weight", "weight `none` is 0 in every row"),
        ("gaps", "/data/weight", "weight `gaps` has 1 cell without a finite number"),
        ("area", "/data/features/0", "`area` is the weight of the rows"),
    ],
)
def test_what_cannot_be_a_weight(registry: DatasetRegistry, weight: str, pointer: str, message: str):
    found = faults(registry.add_content(WEIGHTED), spec("regression", weight=weight, features=["area"]))
    assert list(found) == [pointer]
    assert message in found[pointer]


def test_many_blocks_of_rows_stay_in_order(registry: DatasetRegistry, blobs: BlobStore):
    rows = 70_000
    content = "a,b,c\n" + "".join(f"{index},{index % 7},{'xy'[index % 2]}\n" for index in range(rows))
    data = load_training_data(registry.add_content(content.encode()), blobs, spec())
    np.testing.assert_array_equal(data.x[:, 0], np.arange(rows))
    np.testing.assert_array_equal(data.x[:, 1], np.arange(rows) % 7)
    np.testing.assert_array_equal(data.y, np.arange(rows) % 2)


def test_deleted_content_is_told(houses: Dataset, registry: DatasetRegistry, blobs: BlobStore):
    registry.delete(houses.id)
    with pytest.raises(NotFoundError):
        load_training_data(houses, blobs, spec("regression", features=["area"]))


@pytest.mark.parametrize(
    ("checked", "expected"),
    [
        (spec(target="prise"), {"/data/target": 'there is no column "prise"; did you mean "price"?'}),
        (spec(target="zzz"), {"/data/target": 'no column "zzz"; the columns are "area", "rooms"'}),
        (
            spec("regression", features=["area", "aera", "price", "area", "city"]),
            {
                "/data/features/1": 'did you mean "area"',
                "/data/features/2": "is the target",
                "/data/features/3": "twice",
            },
        ),
        (
            spec("regression", features=["area", "city"], columns={"city": {"kind": "number"}}),
            {"/data/features/1": "`city` is text, no number; use the column as a category"},
        ),
        (
            spec("regression", columns={"city": {"kind": "boolean"}, "rooms": {"kind": "boolean"}}),
            {"/data/columns/city": "`city` is text, no boolean", "/data/columns/rooms": "other values than true and"},
        ),
        (spec("regression", columns={"area": {"kind": "date"}}), {"/data/columns/area": "is one of numbers, no date"}),
        (spec("regression", columns={"aera": {}}), {"/data/columns/aera": 'did you mean "area"'}),
        (spec("regression", columns={"price": {}}), {"/data/columns/price": "is the target or the weight"}),
        (spec("regression", features=["area"], columns={"rooms": {}}), {"/data/columns/rooms": "not among `features`"}),
        (
            spec("regression", features=["area"], columns={"area": {"use": False}}),
            {"/data/columns/area": "is among `features`; leave it out there"},
        ),
        (spec("regression", features=[]), {"/data/features": "at least one feature"}),
        (spec("regression", target="city", features=["area"]), {"/task": "is text .*use task `classification`"}),
        (spec(target="rooms", features=["area"]), {"/validation_fraction": "has a class of its own"}),
    ],
)
def test_faults_point_into_the_spec(houses: Dataset, checked: TrainingSpec, expected: dict[str, str]):
    found = faults(houses, checked)
    assert found.keys() == expected.keys()
    for pointer, pattern in expected.items():
        with pytest.raises(AssertionError, match=pattern):
            raise AssertionError(found[pointer])


@pytest.mark.parametrize(
    ("content", "checked", "pointer", "message"),
    [
        (
            "a,y\n1,0\n2,\n3,\n",
            spec("regression"),
            "/data",
            "has 1 row with a value of the target; a training needs at least 2",
        ),
        (
            "a,y\n" + "1,0\n2,0\n" * 20 + "x,1\n",
            spec(),
            "/data/columns/a",
            "column `a` has 1 cell that is no finite number; correct them, or use the column as a category",
        ),
        ("a,y\n" + "1,2\n" * 20 + "1,inf\n", spec("regression"), "/data/target", "1 cell that is no finite number"),
        ("a,e,y\n1,,0\n2,,1\n3,,1\n", spec(features=["a", "e"]), "/data/features/1", "column `e` has no values"),
        ("e,c,y\n,2,0\n,2,1\n,2,1\n", spec(), "/data/columns", "none of the 2 columns beside the target is used"),
        ("a,y\n1,0\n2,0\n", spec(), "/data/target", "has the same value; a classification needs two classes"),
        ("y\n1\n2\n", spec("regression"), "/data/target", "the only column"),
        ("a,y\n1,2\n", spec("regression"), "/data", "has 1 row; a training needs at least 2"),
        (
            "a,y\n" + "".join(f"{i},{i / 7}\n" for i in range(900)),
            spec(),
            "/task",
            "target `y` has 900 distinct values in 900 rows, too many classes; use task `regression`",
        ),
        (
            "a,y\n" + "".join(f"{i},{i % 1500}\n" for i in range(20_000)),
            spec(),
            "/task",
            "1,500 distinct values in 20,000 rows",
        ),
        (
            "a,y\n" + "".join(f"{i},n{i}\n" for i in range(20_000)),
            spec(),
            "/task",
            "more than 10,000 distinct values in 20,000 rows, too many classes; choose another target",
        ),
    ],
)
def test_what_a_training_cannot_use(
    registry: DatasetRegistry, content: str, checked: TrainingSpec, pointer: str, message: str
):
    found = faults(registry.add_content(content.encode()), checked)
    assert message in found[pointer]


def test_all_unusable_features_are_named_in_one_message(registry: DatasetRegistry):
    dataset = registry.add_content(b"a,b,c,y\n1,t,u,0\n2,s,v,1\n3,t,w,1\n")
    with pytest.raises(InvalidInputError) as caught:
        check(dataset.schema, spec(columns={"b": {"kind": "number"}, "c": {"kind": "number"}}), Budgets())
    assert caught.value.message.startswith("2 of 3 feature columns cannot be used: column `b` is text, no number")
    assert len(caught.value.errors) == 2


@pytest.mark.parametrize(
    ("x", "y", "pointer", "message"),
    [
        ([[1, 2], [3, 4], [5]], [0, 1, 0], "/data/x/2", "this row has 1 values; the first has 2"),
        ([], [], "/data/x", "empty"),
        ([[], []], [0, 1], "/data/x", "empty"),
        ([[1], [2]], [0], "/data/y", "`y` has 1 values; `x` has 2 rows"),
        ([[1], [2]], ["a", "b" * 201], "/data/y/1", "at most 200 characters; this has 201"),
    ],
)
def test_faults_of_inline_arrays_point_into_the_spec(x: Any, y: Any, pointer: str, message: str):
    with pytest.raises(InvalidInputError) as caught:
        from_arrays(x, y)
    assert caught.value.errors[0].pointer == pointer
    assert message in caught.value.errors[0].message


def array_files() -> list[bytes]:
    """Return arrays of several blocks as npy, as npz with numbers and as npz with texts."""
    x = np.random.default_rng(0).integers(0, 50, (100_000, 3)).astype(np.float32)
    x[::7, 1] = np.nan
    files = [io.BytesIO() for _ in range(3)]
    np.save(files[0], x)
    np.savez_compressed(files[1], x=x[:, :2], y=x[:, 2])
    np.savez(files[2], x=x, y=np.where(x[:, 0] > 5, "high", "low"))
    return [file.getvalue() for file in files]


def parquet_file() -> bytes:
    file = io.BytesIO()
    columns = {"a": np.arange(90_000.0), "city": ["Ulm", None, "Bonn"] * 30_000, "y": np.arange(90_000) % 5}
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


NPY, NPZ, NPZ_OF_TEXTS = array_files()
CSV_ROWS = [
    b"%d,%s,%s" % (n, (b"Ulm", b"Bonn", b"")[n % 3], b"" if n % 9 == 0 else b"%d" % (n % 5)) for n in range(9000)
]
CSV = b"\n".join([b"a,city,y", *CSV_ROWS])


@pytest.mark.parametrize(
    ("content", "chosen"),
    [
        pytest.param(NPY, ("regression", "c1", "c2"), id="npy"),
        pytest.param(NPY, ("classification", "c0", None), id="npy, classes"),
        pytest.param(NPZ, ("regression", "x1", "y"), id="npz"),
        pytest.param(NPZ_OF_TEXTS, ("classification", "y", "x0"), id="npz of texts"),
        pytest.param(NPZ_OF_TEXTS, ("regression", "x1", "y"), id="npz of texts, as a feature"),
        pytest.param(parquet_file(), ("regression", "y", None), id="parquet"),
        pytest.param(CSV, ("regression", "y", None), id="csv"),
        pytest.param(CSV, ("classification", "city", "y"), id="csv, classes"),
    ],
)
def test_tables_in_mapped_files_are_those_in_memory(
    engine: Engine, blobs: BlobStore, tmp_path: Path, content: bytes, chosen: tuple[str, str, str | None]
):
    task, target, category = chosen
    dataset = DatasetRegistry(engine, blobs).add_content(content)
    kinds = {} if category is None else {category: {"kind": "category"}}
    resolved = resolve(dataset.schema, dataset.format, spec(task, target=target, columns=kinds))
    here = load_training_data(dataset, blobs, resolved)
    there = load_training_data(dataset, blobs, resolved, Scratch(tmp_path))
    np.testing.assert_array_equal(here.x, there.x)
    np.testing.assert_array_equal(here.y, there.y)
    assert (here.labels, here.classes) == (there.labels, there.classes)
    assert Identity.of(resolved, here) == Identity.of(resolved, there)
    column = dataset.schema.column(target)
    assert column is not None
    assert len(here.y) == dataset.schema.rows - column.missing


@pytest.mark.parametrize(
    ("content", "kind", "told"),
    [
        (b"x,y\n1,0\n2,3\n3,1\n4,2\n", "log", "`y` has the value 0; .* `log` takes numbers above 0 .*`log1p` takes"),
        (b"x,y\n1,-1\n2,3\n3,1\n4,2\n", "log1p", "`y` has the value -1; .*`quantile` takes any"),
        (b"x,y\n1,1\n2,1e200\n3,2\n4,3\n", "log", "1e.200"),
    ],
)
def test_a_target_that_has_no_logarithm_is_refused_at_once(
    registry: DatasetRegistry, content: bytes, kind: str, told: str
):
    dataset = registry.add_content(content)
    asked = spec("regression", target="y").model_copy(update={"target_transform": kind})
    assert re.search(told, faults(dataset, asked)["/target_transform"])
    resolved = resolve(dataset.schema, dataset.format, asked.model_copy(update={"target_transform": "quantile"}))
    check(dataset.schema, resolved, Budgets())
