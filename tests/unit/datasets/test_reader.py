"""Files are looked through in processes of their own: how these end is told, and nothing else ends with them."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet
import pytest
import waiting

from dropout_service.budgets import Budgets
from dropout_service.datasets.dataset import CsvOptions
from dropout_service.datasets.reader import Reader
from dropout_service.datasets.scan import scan
from dropout_service.errors import InvalidInputError, OverBudgetError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BIG_CSV = b"a;b\n" + b"1;x\n2,5;y\n" * 200_000


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    reader = Reader()
    yield reader
    reader.close()


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    path = tmp_path / "table.parquet"
    pyarrow.parquet.write_table(pa.table({"a": [1.5, None], "b": ["x", "ü"]}), path)
    return path


def descendants() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def test_it_tells_what_a_scan_tells(reader: Reader, parquet: Path, tmp_path: Path):
    assert reader.scan(parquet, "parquet", Budgets()) == scan(parquet, "parquet", Budgets())
    csv = tmp_path / "table.csv"
    csv.write_bytes(BIG_CSV)
    options = CsvOptions(decimal=",", missing=("y",))
    assert reader.scan(csv, "csv", Budgets(), options) == scan(csv, "csv", Budgets(), options)


@pytest.mark.parametrize("columns", [300, 1000, 10_000])
def test_a_table_of_many_columns_takes_little_memory(tmp_path: Path, columns: int):
    path = tmp_path / "wide.csv"
    names = [f"column {place}" for place in range(columns)]
    rows = [[f"{place * row % 97}.25" for place in range(len(names))] for row in range(300_000 // columns)]
    path.write_text("\n".join(map(",".join, [names, *rows])))
    reader = Reader(memory_bytes=1 << 29)
    try:
        assert len(reader.scan(path, "csv", Budgets()).columns) == columns
    finally:
        reader.close()


def test_errors_are_those_of_a_scan(reader: Reader, parquet: Path, tmp_path: Path):
    with pytest.raises(OverBudgetError, match="2 columns of a table; this service allows 1") as caught:
        reader.scan(parquet, "parquet", Budgets(columns=1))
    assert (caught.value.excess.limit, caught.value.excess.value) == (1, 2)
    csv = tmp_path / "table.csv"
    csv.write_bytes(BIG_CSV)
    with pytest.raises(InvalidInputError, match="',' is both") as fault:
        reader.scan(csv, "csv", Budgets(), CsvOptions(decimal=",", delimiter=","))
    assert [error.pointer for error in fault.value.errors] == ["/delimiter"]


def test_an_array_that_is_larger_than_the_memory_is_mapped(tmp_path: Path):
    path = tmp_path / "large.npy"
    np.save(path, np.arange(1 << 24, dtype=np.float64).reshape(-1, 2))
    memory_bytes = 3 << 25
    assert path.stat().st_size > memory_bytes
    reader = Reader(memory_bytes=memory_bytes)
    try:
        assert reader.scan(path, "npy", Budgets()).rows == 1 << 23
    finally:
        reader.close()


def test_bounds_of_memory_and_time(tmp_path: Path):
    csv = tmp_path / "table.csv"
    csv.write_bytes(BIG_CSV)
    reader = Reader(memory_bytes=1 << 24)
    with pytest.raises(InvalidInputError, match=r"takes more than 16,777,216 bytes|the reader ended"):
        reader.scan(csv, "csv", Budgets())
    reader.close()
    reader = Reader(timeout_s=0.2)
    os.mkfifo(tmp_path / "pipe")  # which nobody ever writes to
    with pytest.raises(InvalidInputError, match=r"took longer than 0.2 s"):
        reader.scan(tmp_path / "pipe", "arrow", Budgets())
    reader.close()


def test_a_crash_is_told_and_others_go_on(reader: Reader, parquet: Path, tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    told: list[str] = []

    def scan_pipe() -> None:
        try:
            reader.scan(tmp_path / "pipe", "parquet", Budgets())
        except InvalidInputError as error:
            told.append(error.message)

    thread = threading.Thread(target=scan_pipe, daemon=True)
    thread.start()
    waiting.wait_for(lambda: len(descendants()) > 1, "a child that reads", patience_s=20)
    assert reader.scan(parquet, "parquet", Budgets()).rows == 2
    server = reader._server
    assert server is not None
    children = psutil.Process(server.pid).children
    # The one that read the other file may not be reaped yet
    waiting.wait_for(lambda: len(children()) == 1, "the child that waits alone", patience_s=20)
    (child,) = children()
    child.send_signal(signal.SIGSEGV)
    thread.join(30)
    assert told == ["the reader ended by signal 11 (SIGSEGV); the file is damaged, or too large"]
    assert reader.scan(parquet, "parquet", Budgets()).rows == 2


def test_a_server_that_was_killed_is_replaced(reader: Reader, parquet: Path):
    reader.scan(parquet, "parquet", Budgets())
    server = reader._server
    assert server is not None
    server.kill()
    assert reader.scan(parquet, "parquet", Budgets()).rows == 2


def test_nothing_is_left_when_it_is_closed(parquet: Path):
    before = {process.pid for process in descendants()}
    reader = Reader()
    reader.scan(parquet, "parquet", Budgets())
    assert {process.pid for process in descendants()} > before
    reader.close()
    assert {process.pid for process in descendants()} == before
