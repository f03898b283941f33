"""Formats of files of tables, and what they are called over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["MEDIA_TYPES", "DatasetFormat", "format_of"]

DatasetFormat = Literal["csv", "npy", "npz", "parquet", "arrow", "arrows"]

MEDIA_TYPES: Mapping[DatasetFormat, str] = {
    "csv": "text/csv",
    "npy": "application/x-npy",
    "npz": "application/x-npz",
    "parquet": "application/vnd.apache.parquet",
    "arrow": "application/vnd.apache.arrow.file",
    "arrows": "application/vnd.apache.arrow.stream",
}


def format_of(path: Path) -> DatasetFormat | None:
    """Tell the format of a file by the ending of its name; ``None`` if that tells nothing."""
    ending = path.suffix.lower().removeprefix(".")
    if ending in {"feather", "ipc"}:
        return "arrow"
    return next((kind for kind in MEDIA_TYPES if ending == kind), None)
