"""Whatever bytes are uploaded, they are described or refused. ``FUZZ=5000`` tries so many mutations of each file."""

from __future__ import annotations

import io
import os
import random
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet
import pytest

from dropout_service.budgets import Budgets
from dropout_service.datasets.dataset import COLUMNAR, FORMATS
from dropout_service.datasets.reader import Reader
from dropout_service.datasets.rows.feature import Feature
from dropout_service.datasets.scan import detect_format
from dropout_service.errors import InvalidInputError, OverBudgetError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dropout_service.datasets.dataset import ColumnarFormat

TIMES = int(os.environ.get("FUZZ", "60"))
BUDGETS = Budgets(npz_bytes=1 << 22, cells=1 << 20, columns=100)
TABLE = pa.table(
    {
        "a": pa.array([1.5, None, 2.5] * 50),
        "b": pa.array(["x", "ü", None] * 50).dictionary_encode(),
        "c": pa.array([[1], None, [2, 3]] * 50),
        "d": pa.array(["2024-01-01", "2024-01-02", "no"] * 50),
    }
)


def _content(form: str) -> bytes:
    file = io.BytesIO()
    if form == "csv":
        file.write('a;b;"c d"\n1,5;"x ""y"";";2024-01-01\n-2;ü;\n'.encode() * 3)
    elif form == "npy":
        np.save(file, np.arange(12.0).reshape(4, 3))
    elif form == "npz":
        np.savez_compressed(file, x=np.eye(5), y=np.array(list("abcab")))
    elif form == "parquet":
        pyarrow.parquet.write_table(TABLE, file, row_group_size=40, compression="zstd")
    else:
        writer = (pyarrow.ipc.new_file if form == "arrow" else pyarrow.ipc.new_stream)(
            file, TABLE.schema, options=pyarrow.ipc.IpcWriteOptions(compression="lz4")
        )
        with writer:
            writer.write_table(TABLE, max_chunksize=40)
    return file.getvalue()


def _mutated(content: bytes, chance: random.Random) -> bytes:
    mutant = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        at = chance.randrange(len(mutant))
        match chance.randrange(5):
            case 0:
                mutant[at] = chance.randrange(256)
            case 1:
                mutant[at] ^= 1 << chance.randrange(8)
            case 2:
                del mutant[at : at + chance.randrange(1, 9)]
            case 3:
                mutant[at:at] = mutant[at : at + chance.randrange(1, 40)]
            case _:
                mutant[at : at + 4] = chance.choice((b"\xff" * 4, b"\0" * 4, b"\xff\xff\xff\x7f"))
        if not mutant:
            break
    return bytes(mutant)


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    reader = Reader(memory_bytes=1 << 30, timeout_s=20)
    yield reader
    reader.close()


@pytest.mark.parametrize("form", FORMATS)
def test_every_mutation_is_described_or_refused(tmp_path: Path, reader: Reader, form: str):
    content, chance = _content(form), random.Random(form)  # noqa: S311 - the same mutations each time
    path = tmp_path / "content"
    path.write_bytes(content)
    assert reader.scan(path, detect_format(path), BUDGETS).rows > 0
    refused = 0
    for _ in range(TIMES):
        path.write_bytes(_mutated(content, chance))
        try:
            schema = reader.scan(path, detect_format(path), BUDGETS)
        except (InvalidInputError, OverBudgetError):
            refused += 1
        else:
            assert schema.columns
    assert refused or form == "csv"


@pytest.mark.parametrize("form", COLUMNAR)
def test_every_mutation_of_rows_to_predict_is_read_or_refused(reader: Reader, form: ColumnarFormat):
    content, chance = _content(form), random.Random(form)  # noqa: S311 - the same mutations each time
    features = [Feature("a", "number"), Feature("b", "category", ("x",)), Feature("d", "text")]
    rows, _ = reader.rows(content, form, features, BUDGETS, max_chars=1 << 20)
    assert rows.shape == (150, 3)
    refused = 0
    for _ in range(TIMES):
        try:
            found, texts = reader.rows(_mutated(content, chance), form, features, BUDGETS, max_chars=1 << 20)
        except (InvalidInputError, OverBudgetError):
            refused += 1
        else:
            assert found.shape[1] == len(texts) == 3
            assert all(np.nanmax(found[:, place], initial=-1) < len(texts[place]) for place in (1, 2))
    assert refused
