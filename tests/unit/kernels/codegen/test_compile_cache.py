# ruff: noqa: ANN001 - parameters are what their decorators list

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import reference_stream as reference

from dropout_service.kernels.codegen import compile_cache

if TYPE_CHECKING:
    from collections.abc import Callable

REPORT = """
import json
import sys
from pathlib import Path
from dropout_service.kernels.codegen import compile_cache
from dropout_service.kernels.codegen import keystream
from dropout_service.kernels import streams
folders = [Path(one) for one in json.loads(sys.argv[1])]
if folders:
    compile_cache.configure(*folders)
drawn = streams.bits(3, seed=5, offset=9).tolist()
stats = keystream.fill.stats
print(json.dumps([sum(stats.cache_misses.values()), sum(stats.cache_hits.values()), drawn]))
"""

WARM = """
import json
from dropout_service.kernels.codegen import compile_cache
report = compile_cache.warm()
kernels = {f"{one.__module__}.{one.__name__}": one for one in compile_cache._dispatchers}
code = {name: "".join(one.inspect_llvm().values()) for name, one in kernels.items()}
print(json.dumps({
    "compiled": report.compiled,
    "loaded": report.loaded,
    "signatures": {name: len(one.signatures) for name, one in kernels.items()},
    "allocating": [name for name, text in code.items() if "@NRT_MemInfo_alloc" in text or "@NRT_Allocate" in text],
}))
"""


def first_call(*folders: Path, **environment: str) -> tuple[int, int, list[int]]:
    """Call a kernel in a new process; return how often it was compiled, how often loaded, and its result."""
    blank = {name: value for name, value in os.environ.items() if name != compile_cache.FOLDER_VARIABLE}
    answer = subprocess.run(
        [sys.executable, "-c", REPORT, json.dumps([str(folder) for folder in folders])],
        check=True,
        capture_output=True,
        text=True,
        env={**blank, "HOME": "/nonexistent", "XDG_CACHE_HOME": "/nonexistent", **environment},
    )
    return tuple(json.loads(answer.stdout))


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that one process has filled."""
    folder = tmp_path_factory.mktemp("kernels")
    assert first_call(folder)[:2] == (1, 0)
    return folder


def test_a_second_process_does_not_compile_again(filled):
    assert first_call(filled)[:2] == (0, 1)


def test_the_environment_names_the_folders(filled, tmp_path):
    places = os.pathsep.join([str(tmp_path), str(filled)])
    assert first_call(**{compile_cache.FOLDER_VARIABLE: places})[:2] == (0, 1)


def test_a_folder_that_cannot_be_written_is_read(filled):
    # The test may run as root, whom no mode keeps from writing: so a listing before and after is the evidence.
    before = sorted(path.name for path in filled.iterdir())
    filled.chmod(0o555)
    try:
        assert first_call(filled)[:2] == (0, 1)
    finally:
        filled.chmod(0o755)
    assert sorted(path.name for path in filled.iterdir()) == before


def test_what_the_first_folder_lacks_is_stored_in_the_next_that_can_be_written(tmp_path):
    writable = tmp_path / "deep" / "writable"
    unwritable = Path("/proc/kernels")
    assert first_call(unwritable, writable)[:2] == (1, 0)
    assert list(writable.glob("*.kernel"))
    assert first_call(unwritable, writable)[:2] == (0, 1)


def test_without_any_folder_kernels_are_compiled_in_memory():
    misses, hits, drawn = first_call(Path("/proc/kernels"))
    assert (misses, hits) == (1, 0)
    assert drawn == reference.lanes(0, seed=5, offset=9)[:3]


def test_a_damaged_file_is_compiled_anew(filled, tmp_path):
    for path in filled.glob("*.kernel"):
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        (tmp_path / path.name).write_bytes(content)
    assert first_call(tmp_path)[:2] == (1, 0)
    assert first_call(tmp_path)[:2] == (0, 1)


def test_a_folder_that_anybody_can_write_is_not_trusted(filled, tmp_path):
    for path in filled.glob("*.kernel"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    tmp_path.chmod(0o777)
    assert first_call(tmp_path)[:2] == (1, 0)


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A kernel that is read, two folders deep."""
    folder = tmp_path / "above" / "kernels"
    folder.mkdir(parents=True, mode=0o755)
    path = folder / "one.kernel"
    compile_cache._write(path, b"code")
    assert compile_cache._read(path) == b"code"
    return path


AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
SOMEBODY = 12_345


def shared(path: Path) -> None:
    path.chmod(0o777)


def given_away(path: Path) -> None:
    os.chown(path, SOMEBODY, SOMEBODY)


def of_a_group(path: Path) -> None:
    os.chown(path, -1, SOMEBODY)
    path.chmod(0o775)


@pytest.mark.parametrize("part", ["file", "folder", "above"])
@pytest.mark.parametrize(
    "change", [shared, pytest.param(given_away, marks=AS_ROOT), pytest.param(of_a_group, marks=AS_ROOT)]
)
def test_code_is_run_only_if_nobody_else_could_have_put_it_there(
    stored: Path, part: str, change: Callable[[Path], None], caplog: pytest.LogCaptureFixture
):
    place = {"file": stored, "folder": stored.parent, "above": stored.parent.parent}[part]
    change(place)
    assert compile_cache._read(stored) is None
    assert compile_cache._read(stored) is None
    assert compile_cache._writable(stored.parent) == (part == "file")
    told = [record.message for record in caplog.records if str(stored.parent) in record.message]
    assert len(told) == (part != "file"), "said once for a folder"


def test_a_folder_in_a_shared_place_where_nobody_moves_what_is_not_theirs_is_trusted(stored: Path):
    stored.parent.parent.chmod(0o1777)  # as /tmp
    trusted = os.geteuid() == 0 or stored.parent.parent.stat().st_uid == 0
    assert (compile_cache._read(stored) == b"code") == trusted


def test_a_link_leads_to_a_folder_that_is_looked_at_and_a_file_is_none(stored: Path, tmp_path: Path):
    link = tmp_path / "link"
    link.symlink_to(stored.parent)
    assert compile_cache._read(link / stored.name) == b"code"
    shared(stored.parent)
    assert compile_cache._read(link / stored.name) is None
    stored.parent.chmod(0o755)
    (stored.parent / "two.kernel").symlink_to(stored)
    assert compile_cache._read(stored.parent / "two.kernel") is None


def test_the_key_changes_with_any_source_file_of_the_package(tmp_path, monkeypatch):
    (tmp_path / "one.py").write_text("a = 1")
    (tmp_path / "two.py").write_text("b = 1")
    monkeypatch.setattr(compile_cache, "_KERNELS", tmp_path)
    digests = [compile_cache._source_digest.__wrapped__()]
    os.utime(tmp_path / "one.py", (1, 1))
    assert compile_cache._source_digest.__wrapped__() == digests[0]
    (tmp_path / "two.py").write_text("b = 2")
    digests.append(compile_cache._source_digest.__wrapped__())
    (tmp_path / "two.py").rename(tmp_path / "three.py")
    digests.append(compile_cache._source_digest.__wrapped__())
    assert len(set(digests)) == 3


def test_configured_folders_take_the_place_of_the_environments(monkeypatch, tmp_path):
    monkeypatch.setenv(compile_cache.FOLDER_VARIABLE, f"/one{os.pathsep}/two")
    assert compile_cache.folders() == [Path("/one"), Path("/two")]
    try:
        compile_cache.configure(None, tmp_path)
        assert compile_cache.folders() == [tmp_path]
    finally:
        compile_cache.configure()
    assert compile_cache.folders() == [Path("/one"), Path("/two")]
    monkeypatch.delenv(compile_cache.FOLDER_VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert compile_cache.folders() == [Path("/caches/dropout-service/kernels")]


def test_a_closure_is_no_kernel():
    captured = 1

    def kernel() -> int:
        return captured

    with pytest.raises(TypeError, match="without a closure"):
        compile_cache.jit(kernel)


@pytest.fixture(scope="module")
def warmed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, str]]:
    """What a process found that compiled every kernel, and the environment that names the folder it filled."""
    folder = tmp_path_factory.mktemp("warmed")
    environment = {**os.environ, compile_cache.FOLDER_VARIABLE: str(folder)}
    answer = subprocess.run([sys.executable, "-c", WARM], check=True, capture_output=True, text=True, env=environment)
    return json.loads(answer.stdout), environment


@pytest.mark.slow
def test_warm_compiles_every_kernel(warmed):
    found, _ = warmed
    assert found["loaded"] == 0
    assert found["compiled"] >= len(found["signatures"]) > 30
    assert [name for name, signatures in found["signatures"].items() if not signatures] == []


@pytest.mark.slow
def test_warm_leaves_nothing_to_compile(warmed):
    _, environment = warmed
    answer = subprocess.run(
        [sys.executable, "-m", "dropout_service.kernels"], check=True, capture_output=True, text=True, env=environment
    )
    assert "0 compiled" in answer.stdout


@pytest.mark.slow
def test_no_kernel_asks_for_memory(warmed):
    # It could fail, which a kernel cannot say, and what only an address refers to would be freed at once.
    assert warmed[0]["allocating"] == []


def test_a_user_without_a_home_has_no_folder(monkeypatch):
    def homeless() -> Path:
        message = "Could not determine home directory."
        raise RuntimeError(message)

    monkeypatch.delenv(compile_cache.FOLDER_VARIABLE, raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert compile_cache.folders() == []


def test_code_that_cannot_be_stored_is_let_go(tmp_path):
    gone = tmp_path / "gone" / "one.kernel"
    compile_cache._write(gone, b"code")
    assert not gone.parent.exists()
