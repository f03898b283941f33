"""The commands with stores chosen by their URLs: what an operator reads, and what a user can send."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from live_server import free_port

from dropout_service.app import create_app
from dropout_service.database.migrate import revisions
from dropout_service.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import httpx
    from fastapi import FastAPI
    from postgres import PostgresServer

    Run = Callable[..., subprocess.CompletedProcess[str]]

NUL = "%00"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def run(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "dropout_service", *arguments, "--data-dir", str(tmp_path / "data")],
            env={**os.environ, "DROPOUT_SERVICE_DATABASE_URL": url},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def test_an_operator_migrates_up_and_down(empty_url: str, run: Run):
    last = revisions()[-1]
    done = [run(empty_url, "migrate", *to).stdout for to in (["--to", "0001"], ["--to", "base"], [], [])]
    assert done == ["base -> 0001\n", "0001 -> base\n", f"base -> {last}\n", f"already at {last}\n"]
    wrong = run(empty_url, "migrate", "--to", "9999")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert wrong.stderr == (f"--to: there is no revision '9999'; there are {', '.join(revisions())} and head\n")


@pytest.mark.parametrize("command", ["serve", "dispatch", "migrate"])
def test_a_server_that_cannot_be_reached_is_told_in_one_line(run: Run, command: str):
    port = free_port()
    done = run(f"postgresql://u:swordfish@127.0.0.1:{port}/dropout", command)
    assert done.returncode == 1
    assert done.stderr.startswith("DROPOUT_SERVICE_DATABASE_URL: cannot connect to postgresql")
    assert f"127.0.0.1:{port}/dropout" in done.stderr
    assert "Connection refused" in done.stderr
    assert done.stderr.count("\n") == 1
    assert "swordfish" not in done.stderr


@pytest.mark.parametrize("command", ["serve", "dispatch", "migrate"])
def test_a_database_in_a_folder_that_cannot_be_made_is_told_in_one_line(run: Run, tmp_path: Path, command: str):
    (tmp_path / "file").touch()
    done = run(f"sqlite:///{tmp_path}/file/service.db", command)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("DROPOUT_SERVICE_DATABASE_URL: ")
    assert f"{tmp_path}/file" in done.stderr


def test_a_wrong_revision_makes_no_database(run: Run, tmp_path: Path):
    done = run(f"sqlite:///{tmp_path}/service.db", "migrate", "--to", "latest")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert not (tmp_path / "service.db").exists()


def test_a_relative_file_is_in_the_data_folder(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert run("sqlite:///jobs.sqlite3", "migrate").returncode == 0
    assert (tmp_path / "data" / "jobs.sqlite3").exists()
    assert list(elsewhere.iterdir()) == []


def test_a_database_that_only_one_process_could_use_is_told_in_one_line(run: Run, tmp_path: Path):
    done = run(f"sqlite:///{tmp_path}/service.db?mode=memory", "migrate")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("DROPOUT_SERVICE_DATABASE_URL: the database must be a file that several processes")


@pytest.mark.parametrize("command", ["serve", "dispatch"])
@pytest.mark.parametrize("blob_url", ["file://{}/file", "s3:///prefix"])
def test_a_blob_store_that_cannot_be_opened_is_told_in_one_line(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, blob_url: str
):
    (tmp_path / "file").touch()
    url = blob_url.format(tmp_path)
    monkeypatch.setenv("DROPOUT_SERVICE_BLOB_URL", url)
    done = run(f"sqlite:///{tmp_path}/service.db", command)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith(f"DROPOUT_SERVICE_BLOB_URL: cannot open the blob store {url}: ")


def test_a_password_that_fails_is_not_shown(run: Run, postgres: PostgresServer):
    done = run(postgres.tcp_url("postgres", "wrong-one"), "serve")
    assert done.returncode == 1
    assert "password authentication failed" in done.stderr
    assert done.stderr.count("\n") == 1
    assert "wrong-one" not in done.stderr


def test_a_url_that_is_none_is_not_shown(run: Run):
    done = run("postgresql://user:sword@fish/x@host/database#1", "serve")
    assert done.returncode == 2
    assert done.stderr.startswith("DROPOUT_SERVICE_DATABASE_URL: should name host and database")
    assert "fish" not in done.stderr


@pytest.fixture
def client(migrated_url: str, tmp_path: Path, open_client: Callable[[FastAPI], httpx.Client]) -> httpx.Client:
    return open_client(create_app(Settings(data_dir=tmp_path / "data", database_url=migrated_url, dispatcher=False)))


def test_a_name_that_no_database_can_keep_is_refused(client: httpx.Client):
    csv = {"Content-Type": "text/csv"}
    upload = client.post(f"/datasets?name=a{NUL}b", content=b"a,b\n1,2\n3,4\n", headers=csv)
    data = {"x": [[0.0], [1.0], [0.0], [1.0]], "y": ["a", "b", "a", "b"]}
    job = client.post("/jobs", json={"name": "a\0b", "task": "classification", "data": data})
    for answer, pointer in ((upload, "/name"), (job, "/name")):
        assert answer.status_code == 422
        assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
        assert "without the character NUL" in answer.json()["detail"]
    assert client.get("/datasets").json()["items"] == []


@pytest.mark.parametrize(
    "path", ["/jobs/{}", "/jobs/{}/events", "/jobs/{}/metrics", "/datasets/{}", "/models/{}", "/models/{}/download"]
)
def test_an_identifier_that_no_database_can_keep_is_not_found(client: httpx.Client, path: str):
    assert client.get(path.format(f"a{NUL}b")).status_code == 404
    assert client.get(path.format("%F0%9F%A6%86")).status_code == 404


def test_a_dataset_that_no_database_can_keep_is_told_in_its_place(client: httpx.Client):
    answer = client.post("/jobs", json={"task": "classification", "data": {"dataset": "a\0b"}})
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/data/dataset"]


def test_a_column_named_with_a_nul_is_kept_as_it_is(client: httpx.Client):
    file = io.BytesIO()
    np.savez(file, x=np.eye(4), y=np.arange(4) % 2, feature_names=np.array(["a", "b\0c", "d", "e"]))
    report = client.post("/datasets", content=file.getvalue(), headers={"Content-Type": "application/x-npz"})
    assert report.status_code == 201, report.text
    columns = client.get(f"/datasets/{report.json()['id']}").json()["schema"]["columns"]
    assert [column["name"] for column in columns][:4] == ["a", "b\0c", "d", "e"]


def test_a_bookmark_of_another_list_is_harmless(client: httpx.Client):
    for path in ("/jobs", "/models", "/datasets"):
        for cursor in ("YQBi", "am9iXzE", "bmFuIGE"):  # "a\0b", "job_1", "nan a"
            assert client.get(path, params={"cursor": cursor}).status_code in {200, 422}
