"""Files that the command line reads: specifications and tables of features."""

from __future__ import annotations

import csv
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import yaml

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["InputError", "blamed_on", "read_features", "read_spec"]


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


def read_features(path: Path, names: Sequence[str]) -> NDArray[np.float64]:
    """Read what a model predicts from: npy, or a CSV file with a header line.

    Parameters
    ----------
    path
        The file.
    names
        Features of the model. The columns of these names are taken, in this order; a CSV file without one of them
        is an error.

    Returns
    -------
    ndarray
        Shape (rows, features).
    """
    import numpy as np

    if path.suffix.lower() == ".npy":
        with blamed_on(path):
            return np.load(path, allow_pickle=False)
    header, *rows = [row for row in csv.reader(_text(path).splitlines()) if row] or [[]]
    missing = [name for name in names if name not in header]
    if missing:
        raise InputError(f"{path}: the header line lacks {', '.join(missing)}; the model needs {', '.join(names)}")
    places = [header.index(name) for name in names]
    return np.asarray(
        [[_number(path, line, header, row, place) for place in places] for line, row in enumerate(rows, start=2)],
        dtype=np.float64,
    ).reshape(len(rows), len(names))


def _number(path: Path, line: int, header: Sequence[str], row: Sequence[str], place: int) -> float:
    try:
        return float(row[place])
    except IndexError:
        raise InputError(f"{path}: row {line} has {len(row)} cells where the header has {len(header)}") from None
    except ValueError:
        raise InputError(f"{path}: row {line}, column {header[place]}: {row[place]!r} is not a number") from None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}") from error
