from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dropout_service.blobs import BlobStore
from dropout_service.budgets import Budgets
from dropout_service.datasets.registry import DatasetRegistry

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Engine


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore((tmp_path / "blobs").as_uri())


@pytest.fixture
def registry(engine: Engine, blobs: BlobStore) -> DatasetRegistry:
    return DatasetRegistry(engine, blobs, Budgets(npz_bytes=1 << 20))
