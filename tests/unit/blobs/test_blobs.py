from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dropout_service.blobs import BlobStore
from dropout_service.errors import NotFoundError, StorageFullError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(params=["file", "memory"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    url = (tmp_path / "blobs").as_uri() if request.param == "file" else "memory:///"
    return BlobStore(url, scratch_dir=tmp_path)


def test_put_get_overwrite_delete(blobs: BlobStore):
    blobs.put("jobs/1/2/checkpoint-3", b"old")
    blobs.put("jobs/1/2/checkpoint-3", memoryview(b"newer"))
    assert blobs.get("jobs/1/2/checkpoint-3") == b"newer"
    assert blobs.size("jobs/1/2/checkpoint-3") == 5
    assert blobs.exists("jobs/1/2/checkpoint-3")
    blobs.delete("jobs/1/2/checkpoint-3")
    assert not blobs.exists("jobs/1/2/checkpoint-3")
    blobs.delete("jobs/1/2/checkpoint-3")


def test_empty_blob(blobs: BlobStore):
    blobs.put("empty", b"")
    assert blobs.get("empty") == b""
    assert blobs.get_range("empty", 0, 0) == b""
    assert list(blobs.stream("empty", 0, 0)) == []


def test_missing_blob_is_named(blobs: BlobStore):
    for read in (blobs.get, blobs.size, lambda key: blobs.get_range(key, 0, 1)):
        with pytest.raises(NotFoundError, match="`jobs/nope`"):
            read("jobs/nope")
    with pytest.raises(NotFoundError), blobs.as_file("jobs/nope"):
        pass


def test_stream_in_and_out_by_range(blobs: BlobStore):
    content = os.urandom(3 * 2**20 + 17)
    chunks = (content[start : start + 65_536] for start in range(0, len(content), 65_536))
    assert blobs.put_stream("big", chunks) == len(content)
    assert b"".join(blobs.stream("big", 5, len(content) - 7)) == content[5:-7]
    assert blobs.get_range("big", 10, 20) == content[10:20]
    with blobs.as_file("big") as path:
        assert path.read_bytes() == content


def test_list_is_by_folder(blobs: BlobStore):
    for key in ("jobs/a/1", "jobs/a/2/x", "jobs/ab/1", "models/a"):
        blobs.put(key, b".")
    assert blobs.list("jobs/a") == ["jobs/a/1", "jobs/a/2/x"]
    assert blobs.list("nothing") == []


def test_failed_stream_leaves_the_old_blob_and_no_file(tmp_path: Path):
    blobs = BlobStore(tmp_path.as_uri())
    blobs.put("a", b"old")

    def broken() -> Iterator[bytes]:
        yield b"half"
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="source broke"):
        blobs.put_stream("a", broken())
    assert blobs.get("a") == b"old"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / "a"]


def test_local_blob_is_its_own_file_and_is_shared_by_stores(tmp_path: Path):
    BlobStore(tmp_path.as_uri()).put("datasets/x", b"abc")
    with BlobStore(tmp_path.as_uri()).as_file("datasets/x") as path:
        assert path == tmp_path / "datasets/x"
    assert path.exists()


def test_scratch_file_is_gone_whatever_happens(blobs: BlobStore):
    with contextlib.suppress(RuntimeError), blobs.scratch() as file:
        file.write(b"x")
        raise RuntimeError
    assert not Path(file.name).exists()
    with blobs.scratch() as file:
        file.write(b"kept")
        blobs.put_file("kept", file)
    assert not Path(file.name).exists()
    assert blobs.get("kept") == b"kept"


def test_old_scratch_files_of_killed_processes_are_swept(tmp_path: Path):
    BlobStore(tmp_path.as_uri())
    old, new = tmp_path / ".scratch/old", tmp_path / ".scratch/new"
    old.touch()
    new.touch()
    two_days_ago = time.time() - 2 * 24 * 3600
    os.utime(old, (two_days_ago, two_days_ago))
    BlobStore(tmp_path.as_uri())
    assert not old.exists()
    assert new.exists()


def test_full_disk_is_unavailable_and_keeps_the_old_blob(tmp_path: Path):
    blobs = BlobStore(tmp_path.as_uri())
    blobs.put("a", b"old")
    program = f"""
import resource, signal
from dropout_service.blobs import BlobStore
from dropout_service.errors import UnavailableError
blobs = BlobStore({tmp_path.as_uri()!r})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    blobs.put("a", bytes(100_000))
except UnavailableError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "cannot write blob `a`: File too large\n"
    assert blobs.get("a") == b"old"
    assert list((tmp_path / ".scratch").iterdir()) == []


def test_local_put_syncs_the_file_before_its_name_and_then_the_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    blobs = BlobStore(tmp_path.as_uri())
    calls: list[tuple[str, str]] = []
    fsync, replace = os.fsync, Path.replace

    def spy_fsync(descriptor: int) -> None:
        calls.append(("sync", str(Path(f"/proc/self/fd/{descriptor}").readlink())))
        fsync(descriptor)

    def spy_replace(source: Path, target: Path) -> Path:
        calls.append(("name", str(target)))
        return replace(source, target)

    monkeypatch.setattr(os, "fsync", spy_fsync)
    monkeypatch.setattr(Path, "replace", spy_replace)
    blobs.put("jobs/1/c", b"x")
    assert calls[0][0] == "sync"
    assert calls[0][1].startswith(f"{tmp_path}/.scratch/")
    assert calls[1:] == [
        ("name", f"{tmp_path}/jobs/1/c"),
        ("sync", f"{tmp_path}/jobs/1"),
        ("sync", f"{tmp_path}/jobs"),
        ("sync", str(tmp_path)),
    ]


def test_unwritable_place_is_unavailable(tmp_path: Path):
    blobs = BlobStore(tmp_path.as_uri())
    (tmp_path / ".scratch").rmdir()
    with pytest.raises(UnavailableError, match="cannot write a scratch file: No such file or directory"):
        blobs.put("a", b"x")


def test_a_place_that_is_no_folder_is_unavailable(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(UnavailableError, match="cannot open the blob store file:///"):
        BlobStore((tmp_path / "file").as_uri())


def test_a_disk_that_gets_full_under_an_open_scratch_file_is_told_as_such(tmp_path: Path):
    blobs = BlobStore(tmp_path.as_uri())
    with pytest.raises(StorageFullError, match="No space left on device"), blobs.scratch():
        Path("/dev/full").write_bytes(b"x")
    assert list((tmp_path / ".scratch").iterdir()) == []


def test_a_delete_that_cleans_up_the_folder_does_not_fail_a_put_into_it(tmp_path: Path):
    blobs = BlobStore(tmp_path.as_uri())

    def write_and_delete(name: str) -> None:
        for _ in range(60):
            blobs.put(f"jobs/1/{name}", b"x")
            blobs.delete(f"jobs/1/{name}")

    with ThreadPoolExecutor(4) as pool:
        for task in [pool.submit(write_and_delete, name) for name in "abcd"]:
            task.result()
    assert blobs.list("") == []


def test_what_cannot_be_discarded_now_stays_and_the_rest_goes(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    blobs = BlobStore(tmp_path.as_uri())
    for key in ("a/1", "a/b/2", "c"):
        blobs.put(key, b"x")
    blobs.discard_folder("a")
    blobs.discard("c")
    assert blobs.list("") == []
    blobs.discard("c")
    blobs.discard_folder("a")
    assert caplog.text == ""
    (tmp_path / "d" / "in the way").mkdir(parents=True)
    blobs.discard("d")
    (tmp_path / "e").symlink_to(tmp_path / "e")
    blobs.discard_folder("e")
    assert "cannot delete blob `d`" in caplog.text
    assert "cannot list blobs in `e`" in caplog.text


def test_a_failing_folder_is_told_without_where_it_is(tmp_path: Path):
    blobs = BlobStore(tmp_path.as_uri())
    (tmp_path / "jobs").write_bytes(b"a file where a folder should be")
    with pytest.raises((UnavailableError, NotFoundError)) as caught:
        blobs.get("jobs/one/checkpoint-1")
    assert str(tmp_path) not in caught.value.message
    assert "jobs/one/checkpoint-1" in caught.value.message
