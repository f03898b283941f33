from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from sqlalchemy import select

from dropout_service.database.engine import reading
from dropout_service.datasets.dataset import CsvOptions
from dropout_service.datasets.inline import from_arrays
from dropout_service.datasets.loading import load_training_data
from dropout_service.datasets.registry import key_of
from dropout_service.datasets.tables import datasets
from dropout_service.errors import InvalidInputError, NotFoundError
from dropout_service.training.spec import TrainingSpec

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Engine

    from dropout_service.blobs import BlobStore
    from dropout_service.datasets.dataset import Dataset
    from dropout_service.datasets.registry import DatasetRegistry

CSV = b"a,b\n1,2\n3,4\n"


def test_add_get_list_delete(registry: DatasetRegistry, blobs: BlobStore):
    dataset = registry.add_content(CSV, name="tiny")
    digest = hashlib.sha256(CSV).hexdigest()
    assert dataset.id == f"sha256-{digest[:32]}"
    assert dataset.digest == f"sha256:{digest}"
    assert (dataset.name, dataset.format, dataset.size_bytes) == ("tiny", "csv", len(CSV))
    assert dataset.schema.rows == 2
    assert registry.get(dataset.id) == dataset
    assert registry.list(limit=10) == [dataset]
    assert blobs.get(dataset.blob_key) == CSV
    registry.delete(dataset.id)
    assert registry.list(limit=10) == []
    assert blobs.list("") == []
    with pytest.raises(NotFoundError, match=dataset.id):
        registry.get(dataset.id)
    with pytest.raises(NotFoundError, match=dataset.id):
        registry.delete(dataset.id)


def test_the_same_content_is_one_dataset_with_its_first_name(registry: DatasetRegistry, blobs: BlobStore):
    first = registry.add_content(CSV, name="first")
    with registry.upload() as upload:
        upload.write(CSV[:5])
        upload.write(CSV[5:])
        again, created = registry.add(upload, name="second")
    assert not created
    assert again == first
    assert len(blobs.list("")) == 1


def test_content_that_was_lost_is_stored_again(registry: DatasetRegistry, blobs: BlobStore):
    dataset = registry.add_content(CSV, name="first")
    for lose in (blobs.delete, lambda key: blobs.put(key, CSV[:5])):
        lose(registry.get(dataset.id).blob_key)
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda _: registry.add_content(CSV, name="second"), range(4)))
        restored = registry.get(dataset.id)
        assert found == [restored] * 4
        assert restored == replace(dataset, blob_key=restored.blob_key)
        assert blobs.get(restored.blob_key) == CSV
        assert blobs.list("") == [restored.blob_key]


def test_uploads_of_the_same_content_at_the_same_time_are_one_dataset(registry: DatasetRegistry, blobs: BlobStore):
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: registry.add_content(CSV), range(16)))
    assert len({dataset.blob_key for dataset in found}) == 1
    assert blobs.list("") == [found[0].blob_key]


def test_deleting_and_uploading_at_the_same_time_never_leaves_a_row_without_content(
    registry: DatasetRegistry, blobs: BlobStore
):
    def upload(_: int) -> None:
        registry.add_content(CSV)

    def delete(_: int) -> None:
        dataset = registry.add_content(CSV)
        try:
            registry.delete(dataset.id)
        except NotFoundError:  # another one was faster
            return

    with ThreadPoolExecutor(4) as pool:
        tasks = [pool.submit(upload if index % 2 else delete, index) for index in range(40)]
        for task in tasks:
            assert task.exception() is None
    kept = [dataset.blob_key for dataset in registry.list(limit=10)]
    assert blobs.list("") == kept


def test_refused_content_leaves_nothing(registry: DatasetRegistry, blobs: BlobStore, tmp_path: Path):
    with pytest.raises(InvalidInputError, match="row 2 has 1 cells"):
        registry.add_content(b"a,b\n1,2\n3\n")
    assert blobs.list("") == []
    assert [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()] == []
    assert registry.list(limit=10) == []


def test_what_the_content_is_said_to_be_must_be_what_it_is(registry: DatasetRegistry):
    with registry.upload() as upload:
        upload.write(CSV)
        with pytest.raises(InvalidInputError, match="said to be npy, but it looks like csv"):
            registry.add(upload, format="npy")


def test_lists_are_newest_first_in_pages_without_gaps(registry: DatasetRegistry):
    ids = [registry.add_content(b"a,b\n%d,0\n" % index).id for index in range(7)]
    found: list[str] = []
    after: str | None = None
    sizes: list[int] = []
    while True:
        page = registry.list(limit=3, after=after)
        sizes.append(len(page))
        if not page:
            break
        found += [dataset.id for dataset in page]
        after = key_of(page[-1])
    assert sizes == [3, 3, 1, 0]
    assert sorted(found) == sorted(ids)
    times = [registry.get(dataset_id).created_at for dataset_id in found]
    assert all(newer >= older for newer, older in pairwise(times))


def test_a_cursor_of_another_list_is_refused(registry: DatasetRegistry):
    with pytest.raises(InvalidInputError) as caught:
        registry.list(limit=3, after="job_01")
    assert caught.value.errors[0].pointer == "/cursor"


def test_large_content_is_stored_as_it_is(registry: DatasetRegistry, blobs: BlobStore):
    content = b"a,b\n" + b"".join(b"%d,%d\n" % (byte, index) for index, byte in enumerate(os.urandom(200_000)))
    dataset = registry.add_content(content)
    assert dataset.schema.rows == 200_000
    assert blobs.get(dataset.blob_key) == content


ADULTS = b"39, Private, ?\n50, ?, 3\n38, Private, -999\n"


def test_a_file_without_a_header_and_with_marks_of_its_own(registry: DatasetRegistry, blobs: BlobStore):
    options = CsvOptions(header=False, missing=("-999", "?"))
    with registry.upload() as upload:
        upload.write(ADULTS)
        dataset, created = registry.add(upload, options=options)
    assert created
    assert dataset.schema.options == options
    assert [(one.name, one.type, one.missing) for one in dataset.schema.columns] == [
        ("c0", "integer", 0),
        ("c1", "text", 1),
        ("c2", "integer", 2),
    ]
    assert registry.get(dataset.id) == dataset
    spec = TrainingSpec.model_validate(
        {"task": "regression", "data": {"dataset": dataset.id, "target": "c0", "columns": {"c1": {"kind": "category"}}}}
    )
    data = load_training_data(dataset, blobs, spec)
    assert data.labels == {"c1": ("Private",)}
    np.testing.assert_array_equal(data.x, [[0, np.nan], [np.nan, 3], [0, np.nan]])


def test_the_same_content_read_in_another_way_is_another_dataset(registry: DatasetRegistry):
    ways = [CsvOptions(header=False, missing=missing) for missing in ((), ("?",), ("-999", "?"))]
    found: list[Dataset] = []
    for options in [*ways, *ways]:
        with registry.upload() as upload:
            upload.write(ADULTS)
            found.append(registry.add(upload, options=options)[0])
    assert len({dataset.id for dataset in found}) == 3
    assert [dataset.id for dataset in found[:3]] == [dataset.id for dataset in found[3:]]
    assert {(dataset.digest, dataset.format) for dataset in found} == {
        (f"sha256:{hashlib.sha256(ADULTS).hexdigest()}", "csv")
    }


def test_options_are_for_csv(registry: DatasetRegistry):
    with registry.upload() as upload:
        upload.write(from_arrays([[1.0], [2.0]], [1, 2]))
        with pytest.raises(InvalidInputError, match="`header` and `missing` are for csv; this is npz"):
            registry.add(upload, options=CsvOptions(header=False))


def test_an_earlier_version_leaves_a_file_with_options_alone(registry: DatasetRegistry, engine: Engine):
    """It would take the first row for the names of the columns."""
    with registry.upload() as upload:
        upload.write(ADULTS)
        registry.add(upload, options=CsvOptions(header=False))
    with reading(engine) as connection:
        (stored,) = connection.execute(select(datasets.c.format)).scalars()
    assert stored not in {"csv", "npy", "npz"}
