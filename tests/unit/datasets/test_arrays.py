from __future__ import annotations

import io
import pickle
import random
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sample_arrays import npy

from dropout_service.budgets import Budgets
from dropout_service.datasets.arrays import npz_bytes
from dropout_service.datasets.scan import detect_format, scan
from dropout_service.errors import InvalidInputError, OverBudgetError, ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dropout_service.datasets.dataset import TableSchema

    Scan = Callable[[bytes], TableSchema]

BUDGETS = Budgets(npz_bytes=1 << 20)
RNG = np.random.default_rng(0)


@pytest.fixture
def scanned(tmp_path: Path) -> Scan:
    def scan_content(content: bytes) -> TableSchema:
        path = tmp_path / "content"
        path.write_bytes(content)
        return scan(path, detect_format(path), BUDGETS)

    return scan_content


def npy_header(shape: tuple[int, ...], descr: str = "<f8") -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue()


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


@pytest.mark.parametrize("dtype", ["<f8", ">f4", "<f2", "i1", ">u2", "<i8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_of_every_kind_of_number(scanned: Scan, dtype: str, order: str):
    array = np.asarray(RNG.integers(0, 50, (30, 3)), dtype, order=order)  # pyright: ignore[reportArgumentType] - one of "CF"
    schema = scanned(npy(array))
    assert schema.rows == 30
    assert [column.name for column in schema.columns] == ["c0", "c1", "c2"]
    assert schema.target == "c2"
    for index, column in enumerate(schema.columns):
        values = array[:, index].astype(float)
        assert column.type == "integer"
        assert (column.min, column.max) == (values.min(), values.max())
        assert column.mean == pytest.approx(values.mean())
        assert column.std == pytest.approx(values.std())
        labels, counts = np.unique(values, return_counts=True)
        assert [(c.label, c.count) for c in column.classes or ()] == list(
            zip(labels.tolist(), counts.tolist(), strict=True)
        )


def test_npy_missing_infinite_and_boolean_values(scanned: Scan):
    array = RNG.normal(size=(40, 2))
    array[3, 0] = np.nan
    array[7, 1] = -np.inf
    schema = scanned(npy(array))
    assert [(c.type, c.missing, c.bad, c.distinct) for c in schema.columns] == [
        ("number", 1, 0, 39),
        ("number", 0, 1, 39),
    ]
    assert [(c.row, c.column, c.value, c.message) for c in schema.bad_cells] == [(8, "c1", "-inf", "is not finite")]
    nothing = scanned(npy(np.array([[np.nan, 1.0], [np.nan, 2.0]]))).columns[0]
    assert (nothing.type, nothing.missing, nothing.distinct, nothing.constant) == ("empty", 2, 0, False)
    truth = scanned(npy(np.array([[True, False], [True, True]])))
    assert [(c.type, c.constant) for c in truth.columns] == [("boolean", True), ("boolean", False)]
    assert [c.label for c in truth.columns[1].classes or ()] == [False, True]


def test_values_near_the_end_of_float64_have_no_mean_rather_than_a_wrong_one(scanned: Scan):
    column = scanned(npy(np.array([[1.7e308], [1.7e308], [-1.0]]))).columns[0]
    assert column.max == 1.7e308
    assert column.mean is None
    assert column.std is None


def test_many_blocks_are_one_column(scanned: Scan):
    array = RNG.normal(1e6, 1, (1 << 17, 9))
    schema = scanned(npy(array))
    for index, column in enumerate(schema.columns):
        assert column.mean == pytest.approx(array[:, index].mean(), rel=1e-12)
        assert column.std == pytest.approx(array[:, index].std(), rel=1e-9)
        assert not column.distinct_exact


@pytest.mark.parametrize(
    ("y", "kind", "labels"),
    [
        (["b", "a", "b"], "text", ["a", "b"]),
        ([True, False, True], "boolean", [False, True]),
        ([2, 0, 2], "integer", [0, 2]),
        ([[2.0], [0.0], [2.0]], "integer", [0, 2]),
        ([0.5, 0.0, 0.5], "number", [0.0, 0.5]),
    ],
)
def test_npz(scanned: Scan, y: list[Any], kind: str, labels: list[Any]):
    schema = scanned(npz(x=np.arange(6.0).reshape(3, 2), y=y, feature_names=["width", "height"]))
    assert [column.name for column in schema.columns] == ["width", "height", "y"]
    assert schema.target == "y"
    assert schema.columns[2].type == kind
    found = [c.label for c in schema.columns[2].classes or ()]
    assert found == labels
    assert [type(label) for label in found] == [type(label) for label in labels]


def test_npz_without_names(scanned: Scan):
    schema = scanned(npz(x=np.zeros((2, 2)), y=["", "a"]))
    assert [(column.name, column.missing) for column in schema.columns] == [("x0", 0), ("x1", 0), ("y", 1)]


def test_in_place_arrays_have_the_bytes_of_their_values_only():
    x, y = RNG.normal(size=(5, 2)), np.arange(5)
    assert bytes(npz_bytes(x, y)) == bytes(npz_bytes(x.copy(), y.copy()))
    with np.load(io.BytesIO(npz_bytes(x, y))) as content:
        np.testing.assert_array_equal(content["x"], x)
        np.testing.assert_array_equal(content["y"], y)


OBJECTS = np.array([[1, "a"]], dtype=object)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npy(OBJECTS), "pickled Python objects, which are never loaded"),
        (npz(x=OBJECTS, y=[1]), "`x` holds pickled Python objects"),
        (npy(np.zeros(3)), r"1 dimensions, shape \(3,\); a table has 2"),
        (npy(np.zeros((3, 2, 2))), r"3 dimensions.*reshape\(len\(array\), -1\)"),
        (npy(np.zeros((0, 3))), "at least one row and one column"),
        (npy(np.zeros((3, 3), complex)), "dtype complex128; use floats"),
        (npy(np.array([["a", "b"]])), "dtype <U1; use floats"),
        (npy(np.zeros((2, 2)))[:-1], "32 bytes, but holds 31; it is cut short"),
        (npy(np.zeros((2, 2))) + b"x", "32 bytes, but holds 33"),
        (npy(np.zeros((2, 2)))[:20], "not a valid npy array"),
        (
            npy(np.zeros((2, 2))).replace(b"(2, 2), }" + b" " * 12, b"(99999999999, 99999)}"),
            "is not a valid npy|declares",
        ),
        (b"\x93NUMPY\x04\x00" + bytes(100), "version 4.0 is unknown"),
        (b"\x93NUMPY\x01\x00\xff\xff", "not a valid npy array"),
        (npz(x=np.zeros((2, 2))), "needs the arrays `x` .* this one has `x`"),
        (npz(x=np.zeros((2, 2)), y=[1, 2], z=[1]), "this one has `x`, `y`, `z`"),
        (npz(x=np.zeros((2, 2)), y=[1, 2, 3]), r"`y` has shape \(3,\); `x` has 2 rows"),
        (npz(x=np.zeros((2, 2)), y=np.zeros((2, 2))), r"`y` has shape \(2, 2\)"),
        (npz(x=np.zeros((2, 2)), y=np.array([1j, 2])), "`y` has dtype complex128"),
        (npz(x=np.zeros(2), y=[1, 2]), "`x` has 1 dimensions"),
        (npz(x=np.zeros((0, 2)), y=np.zeros(0)), r"`x` has shape \(0, 2\); it needs"),
        (npz(x=np.zeros((2, 2)), y=[1, 2], feature_names=["a"]), "one name for each of the 2 columns"),
        (npz(x=np.zeros((2, 2)), y=[1, 2], feature_names=["a", "a"]), "must be distinct"),
        (npz(x=np.zeros((2, 2)), y=[1, 2], feature_names=["a", "y"]), "none may be `y`"),
        (npz(x=np.zeros((2, 2)), y=[1, 2], feature_names=[1, 2]), "must be text"),
        (npz(x=np.zeros((2, 2)), y=[1, 2])[:-30], "cannot be read"),
        (b"PK\x03\x04" + bytes(50), "cannot be read"),
    ],
)
def test_what_is_wrong_with_an_array_is_said(scanned: Scan, content: bytes, message: str):
    with pytest.raises(InvalidInputError, match=message):
        scanned(content)


def test_a_pickle_in_an_npz_is_not_executed(scanned: Scan, tmp_path: Path):
    class Bomb:
        def __reduce__(self) -> Any:
            return (open, (str(tmp_path / "executed"), "w"))

    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x.npy", npy_header((1, 1), "|O") + pickle.dumps(Bomb()))
        archive.writestr("y.npy", npy(np.zeros(1)))
    with pytest.raises(InvalidInputError, match="pickled"):
        scanned(file.getvalue())
    assert not (tmp_path / "executed").exists()


def test_a_zip_bomb_is_refused_by_its_declared_size(scanned: Scan):
    content = npz(x=np.zeros((1000, 200)), y=np.zeros(1000))
    assert len(content) < 10_000
    with pytest.raises(OverBudgetError, match=r"1,608,256 bytes of unpacked npz arrays; this service allows 1,048,576"):
        scanned(content)


def test_a_zip_that_declares_less_than_it_holds_gives_no_more_than_that(scanned: Scan):
    content = bytearray(npz(x=np.zeros((1000, 20)), y=np.zeros(1000)))
    size = (1000 * 20 * 8 + 128).to_bytes(4, "little")
    at = content.rindex(size)  # in the central directory
    content[at : at + 4] = (1000).to_bytes(4, "little")
    with pytest.raises(InvalidInputError, match=r"Bad CRC-32 for file 'x.npy'"):
        scanned(bytes(content))


def test_a_member_that_decompresses_to_garbage_is_refused(scanned: Scan):
    content = bytearray(npz(x=np.arange(400.0).reshape(20, 20), y=np.zeros(20)))
    content[200] ^= 0xFF
    with pytest.raises(InvalidInputError, match="cannot be read"):
        scanned(bytes(content))


def test_an_unusual_compression_is_refused(scanned: Scan):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("x.npy", npy(np.zeros((2, 2))))
        archive.writestr("y.npy", npy(np.zeros(2)))
    with pytest.raises(InvalidInputError, match="compressed in an unusual way"):
        scanned(file.getvalue())


@pytest.mark.filterwarnings("ignore:Reading `.npy` or `.npz` file required additional header parsing")
@pytest.mark.parametrize(
    "content",
    [
        npy(np.arange(12.0).reshape(4, 3)),
        npz(x=np.arange(12.0).reshape(4, 3), y=["a", "b", "a", "b"], feature_names=["p", "q", "r"]),
        bytes(npz_bytes(np.arange(12.0).reshape(4, 3), np.arange(4))),
        b'a,b,"c d"\n1,2,x\n3,NA,"y, z"\n',
    ],
    ids=["npy", "npz", "npz, stored", "csv"],
)
def test_damaged_content_is_read_or_refused_and_nothing_else(scanned: Scan, content: bytes):
    rng = random.Random(7)  # noqa: S311 - the same damage each time
    refused = 0
    for _ in range(600):
        damaged = bytearray(content)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(damaged))
            damaged[at : at + rng.choice([0, 1, 1, 9])] = rng.randbytes(rng.choice([0, 1, 1, 4])) or b"{"
        try:
            scanned(bytes(damaged))
        except ServiceError:
            refused += 1
    assert refused > 50
