"""What is deleted is gone, whether or not the blob store can remove its files at that moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dropout_service.app import create_app
from dropout_service.database.engine import open_database
from dropout_service.jobs.sql import SqlJobStore
from dropout_service.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import httpx
    from fastapi import FastAPI

CSV = b"a,b\n1,2\n3,4\n5,6\n7,8\n"


@pytest.fixture
def client(tmp_path: Path, open_client: Callable[[FastAPI], httpx.Client]) -> httpx.Client:
    return open_client(create_app(Settings(data_dir=tmp_path, dispatcher=False)))


@pytest.fixture
def store(tmp_path: Path, client: httpx.Client) -> Iterator[SqlJobStore]:
    assert client is not None
    engine = open_database(Settings(data_dir=tmp_path).database_url)
    yield SqlJobStore(engine)
    engine.dispose()


def put_a_folder_in_place(blob: Path) -> None:
    """Let the blob be one that cannot be removed."""
    blob.unlink()
    (blob / "in the way").mkdir(parents=True)


def test_a_dataset(client: httpx.Client, tmp_path: Path):
    dataset = client.post("/datasets", content=CSV, headers={"Content-Type": "text/csv"}).json()["id"]
    path = f"/datasets/{dataset}"
    (blob,) = (one for one in (tmp_path / "blobs" / "datasets").rglob("*") if one.is_file())
    put_a_folder_in_place(blob)
    assert client.delete(path).status_code == 204
    assert client.get(path).status_code == 404
    assert blob.exists(), "it could not be removed"


def test_a_job(client: httpx.Client, store: SqlJobStore, tmp_path: Path):
    dataset = client.post("/datasets", content=CSV, headers={"Content-Type": "text/csv"}).json()["id"]
    spec = {"task": "regression", "data": {"dataset": dataset, "target": "b"}}
    path = f"/jobs/{(job_id := client.post('/jobs', json=spec).json()['id'])}"
    client.post(f"{path}/cancel")
    folder = tmp_path / "blobs" / store.get(job_id).blob_prefix
    folder.parent.mkdir()
    folder.symlink_to(folder)  # nobody can list it
    assert client.delete(path).status_code == 204
    assert client.get(path).status_code == 404
