from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dropout_service.blobs import BlobStore
from dropout_service.database.engine import open_database
from dropout_service.database.metadata import metadata
from dropout_service.datasets import tables
from dropout_service.datasets.registry import DatasetRegistry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore((tmp_path / "blobs").as_uri())


@pytest.fixture
def registry(tmp_path: Path, blobs: BlobStore) -> Iterator[DatasetRegistry]:
    engine = open_database(f"sqlite:///{tmp_path}/test.sqlite3")
    metadata.create_all(engine, [tables.datasets])
    yield DatasetRegistry(engine, blobs, max_unpacked_bytes=1 << 20)
    engine.dispose()
