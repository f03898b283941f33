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


_DELIMITERS = ",;\t"
_SAMPLE_ROWS = 20
_TRUTH = {"true": 1.0, "false": 0.0}
"""Truth values, which a model that was trained on them takes as numbers."""


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
    """Read what a model predicts from: npy, or a CSV file with a header line, in any form that the service takes.

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
    header, *rows = _rows(_text(path)) or [[]]
    missing = [name for name in names if name not in header]
    if missing:
        raise InputError(f"{path}: the header line lacks {', '.join(missing)}; the model needs {', '.join(names)}")
    places = [header.index(name) for name in names]
    return np.asarray(
        [[_number(path, row, header, cells, place) for place in places] for row, cells in enumerate(rows, start=1)],
        dtype=np.float64,
    ).reshape(len(rows), len(names))


def _rows(text: str) -> list[list[str]]:
    """Split a table into cells as the service does: by what splits the first rows evenly and into the most columns."""
    lines = text.splitlines()
    sample = lines[: 1 + _SAMPLE_ROWS]

    def split(delimiter: str, lines: Sequence[str]) -> list[list[str]]:
        reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
        return [[cell.strip() for cell in cells] for cells in reader if cells]

    def fit(delimiter: str) -> tuple[bool, int]:
        widths = [len(cells) for cells in split(delimiter, sample)]
        return (bool(widths) and widths[0] > 1 and len(set(widths)) == 1, widths[0] if widths else 0)

    return split(max(_DELIMITERS, key=fit), lines)


def _number(path: Path, row: int, header: Sequence[str], cells: Sequence[str], place: int) -> float:
    try:
        cell = cells[place]
        return _TRUTH[cell.lower()] if cell.lower() in _TRUTH else float(cell)
    except IndexError:
        raise InputError(f"{path}: row {row} has {len(cells)} cells where the header has {len(header)}") from None
    except ValueError:
        raise InputError(f"{path}: row {row}, column {header[place]}: {cells[place]!r} is not a number") from None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}") from error
