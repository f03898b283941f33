"""Where compiled kernels live, and the decorator that compiles them.

Numba's own cache wants a writable folder beside the source and trusts one file's stamp. Ours is content-addressed: a
file's name is the hash of everything its machine code depends on (the source of the whole package, the signature,
the CPU and its features, the versions of Numba, llvmlite and Python). So a stale entry cannot match, two processes can
write at once, and a folder filled when an image was built serves read-only. Folders are searched in order; a kernel
found in none is compiled and stored in the first that can be written, or kept in memory only.

What is read is unpickled and run, so a folder counts only if nobody but its user and root could have put it there: they
own it and every folder above it, and nobody else may write to any of them.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import logging
import os
import pickle
import pkgutil
import stat
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import llvmlite
import numba
from numba.core.caching import _Cache  # pyright: ignore[reportPrivateUsage] - Numba offers no public seam for a cache
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FOLDER_VARIABLE", "WarmReport", "configure", "folders", "jit", "warm", "warms"]

FOLDER_VARIABLE = "DROPOUT_SERVICE_KERNEL_CACHE_DIR"
"""Environment variable with the folders to search, separated as in ``PATH``."""

_Kernel = TypeVar("_Kernel", bound="Callable[..., Any]")

_configured: list[Path] = []
_dispatchers: list[Any] = []
_warmers: list[Callable[[], None]] = []
_refused: set[Path] = set()

logger = logging.getLogger(__name__)


def configure(*folder: Path | None) -> None:
    """Search these folders instead of those the environment names.

    Call it before the first kernel runs: code that is compiled or loaded already is not looked up again.

    Parameters
    ----------
    folder
        In order of search; code is stored in the first that can be written. None, or nothing, goes back to the
        environment's.
    """
    _configured[:] = [place for place in folder if place is not None]


def folders() -> list[Path]:
    """Return the folders in order of search: configured, else the environment's, else the user's cache folder."""
    if _configured:
        return list(_configured)
    named = os.environ.get(FOLDER_VARIABLE, "")
    if named:
        return [Path(place) for place in named.split(os.pathsep) if place]
    base = os.environ.get("XDG_CACHE_HOME", "")
    try:
        return [(Path(base) if base else Path.home() / ".cache") / "dropout-service" / "kernels"]
    except RuntimeError:  # no home folder: a container with a user id that no passwd entry names
        return []


def jit(kernel: _Kernel) -> _Kernel:
    """Compile a module-level function of this package on first call; cached, without the GIL, NumPy's error model.

    Parameters
    ----------
    kernel
        The function. It has no closure: its code must be a function of the package's source alone.
    """
    if kernel.__closure__ is not None:
        message = f"{kernel.__qualname__}: a kernel is a module-level function without a closure"
        raise TypeError(message)
    dispatcher: Any = numba.njit(nogil=True, error_model="numpy")(kernel)
    dispatcher._cache = _ContentCache(kernel)  # noqa: SLF001 - Numba offers no public seam for the place of a cache
    _dispatchers.append(dispatcher)
    return dispatcher


def warms(exercise: Callable[[], None]) -> Callable[[], None]:
    """Register a function that calls kernels with every signature in use, for `warm` to run."""
    _warmers.append(exercise)
    return exercise


@dataclass(frozen=True, slots=True)
class WarmReport:
    """What `warm` found and did.

    Parameters
    ----------
    compiled
        Kernels that had to be compiled in this process.
    loaded
        Kernels that came out of a folder.
    folder
        Where newly compiled code is stored; None when no folder can be written.
    """

    compiled: int
    loaded: int
    folder: Path | None


def warm() -> WarmReport:
    """Compile or load every kernel of `kernels`, and those of other modules that are imported already."""
    for module in pkgutil.walk_packages([str(_KERNELS)], prefix="dropout_service.kernels."):
        if not module.name.endswith(".__main__"):
            importlib.import_module(module.name)
    for exercise in _warmers:
        exercise()
    stats = [dispatcher.stats for dispatcher in _dispatchers]
    return WarmReport(
        compiled=sum(sum(one.cache_misses.values()) for one in stats),
        loaded=sum(sum(one.cache_hits.values()) for one in stats),
        folder=next((place for place in folders() if _writable(place)), None),
    )


_KERNELS = Path(__file__).parents[1]


@functools.cache
def _source_digest() -> bytes:
    """Hash all of `kernels`: a kernel inlines others, so any file may change its code."""
    digest = hashlib.sha256()
    for path in sorted(_KERNELS.rglob("*.py")):
        name = path.relative_to(_KERNELS).as_posix()
        digest.update(name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.digest()


class _ContentCache(_Cache):
    """Numba's cache protocol over content-addressed files; see the module's docstring."""

    def __init__(self, kernel: Callable[..., Any]) -> None:
        self._name = f"{kernel.__module__}.{kernel.__qualname__}"
        self._origin = hashlib.sha256(kernel.__code__.co_code).digest()

    @property
    def cache_path(self) -> str | None:  # pyright: ignore[reportIncompatibleMethodOverride] - inferred as None from an empty body
        return next((str(place) for place in folders()), None)

    def load_overload(self, sig: Any, target_context: Any) -> CompileResult | None:  # pyright: ignore[reportIncompatibleMethodOverride] - as above
        target_context.refresh()
        name = self._file_name(sig, target_context.codegen())
        for folder in folders():
            body = _read(folder / name)
            if body is not None:
                return CompileResult._rebuild(target_context, *pickle.loads(body))  # noqa: S301, SLF001 # pyright: ignore[reportPrivateUsage] - `_read` trusts only folders of ours; Numba names the seam so
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        if data.library.has_dynamic_globals or data.lifted:
            return  # code with addresses of this process in it
        folder = next((place for place in folders() if _writable(place)), None)
        if folder is not None:
            _write(folder / self._file_name(sig, data.codegen), dumps(data._reduce()))  # noqa: SLF001 - as above

    def enable(self) -> None:
        """Do nothing: the cache is always on."""

    def disable(self) -> None:
        """Do nothing: an empty folder has the same effect."""

    def flush(self) -> None:
        """Do nothing: stale entries never match."""

    def _file_name(self, sig: Any, codegen: Any) -> str:
        made_by = (numba.__version__, llvmlite.__version__, sys.version, codegen.magic_tuple())
        key = repr((self._name, str(sig), made_by, self._origin, _source_digest()))
        return f"{self._name}-{hashlib.sha256(key.encode()).hexdigest()[:40]}.kernel"


_DIGEST_BYTES = 32


def _read(path: Path) -> bytes | None:
    """Read a stored kernel; None where there is none that is whole and safe to unpickle."""
    try:
        folder = path.parent.resolve(strict=True)
        if not _is_trusted(folder):
            return None
        descriptor = os.open(folder / path.name, os.O_RDONLY | os.O_NOFOLLOW)
        with os.fdopen(descriptor, "rb") as file:
            if not _is_ours(os.fstat(file.fileno())):
                return None
            content = file.read()
    except OSError:
        return None
    digest, body = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    return body if hashlib.sha256(body).digest() == digest else None


def _write(path: Path, body: bytes) -> None:
    """Store a kernel whole or not at all; a full disk costs the next process a compilation, nothing else."""
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, suffix=".part", delete=False) as part:
            part.write(hashlib.sha256(body).digest() + body)
        temporary = Path(part.name)
        temporary.chmod(0o644)  # an image is built by one user and run by another
        temporary.replace(path)
    except OSError:
        return


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return os.access(folder, os.W_OK | os.X_OK) and _is_trusted(folder.resolve(strict=True))
    except OSError:
        return False


def _is_trusted(folder: Path) -> bool:
    """Whether only this user and root can have put something into a folder, given without links."""
    for place in (folder, *folder.parents):
        found = place.stat()
        # Others may write to a folder such as /tmp, but not move what belongs to us there.
        if not _is_ours(found) and not (place != folder and found.st_uid == 0 and found.st_mode & stat.S_ISVTX):
            if folder not in _refused:
                _refused.add(folder)
                logger.warning(
                    "compiled kernels in %s are not used: others than this user can write to %s", folder, place
                )
            return False
    return True


def _is_ours(found: os.stat_result) -> bool:
    """Whether a file or folder belongs to this user or root, and nobody else may write to it."""
    user = os.geteuid()
    others = stat.S_IWOTH
    if not found.st_gid == user == os.getegid():  # a group of the user's own, as most systems have it
        others |= stat.S_IWGRP
    return found.st_uid in {0, user} and not found.st_mode & others
