"""Files that the command line reads: specifications and tables of features."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import yaml

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path


__all__ = ["InputError", "blamed_on", "read_spec"]


class InputError(Exception):
    """A file or option of the command line is not usable; the message says which and why."""


@contextmanager
def blamed_on(path: Path) -> Generator[None]:
    """Take what the client refuses to send or cannot write, in a call with this file, for a fault of the file."""
    try:
        yield
    except (ValueError, TypeError, OSError) as error:
        raise InputError(f"{path}: {error}") from error


def read_spec(path: Path) -> dict[str, Any]:
    """Read a training specification from YAML or JSON; ``data.file`` is relative to it.

    Parameters
    ----------
    path
        The file.
    """
    text = _text(path)
    try:
        document = json.loads(text) if path.suffix.lower() == ".json" else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as error:
        raise InputError(f"{path}: {error}") from error
    if not isinstance(document, dict):
        raise InputError(f"{path}: a specification is a mapping, with at least `task` and `data`")
    spec = cast("dict[str, Any]", document)
    data = spec.get("data")
    if isinstance(data, dict) and "file" in data:
        file = path.parent / str(cast("dict[str, Any]", data)["file"])
        if not file.is_file():
            raise InputError(f"{path}: data.file: there is no file {file}")
        spec["data"] = {**cast("dict[str, Any]", data), "file": file}
    return spec


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}") from error
