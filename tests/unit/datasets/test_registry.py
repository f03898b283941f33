from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from dropout_service.datasets.registry import key_of
from dropout_service.errors import InvalidInputError, NotFoundError

if TYPE_CHECKING:
    from pathlib import Path

    from dropout_service.blobs import BlobStore
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
