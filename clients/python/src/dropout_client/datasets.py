"""``client.datasets``: data that trainings read."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dropout_client import arrays
from dropout_client.binding import (
    AsyncResource,
    Resource,
    awaiting,
    awaiting_each,
    blocking,
    blocking_each,
)
from dropout_client.downloads import download
from dropout_client.flows import Request, send
from dropout_client.formats import MEDIA_TYPES, DatasetFormat, format_of
from dropout_client.paging import pages
from dropout_client.records import Dataset

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dropout_client.arrays import ArrayLike, SupportsArray, SupportsArrow
    from dropout_client.flows import Body, Flow, Stream
    from dropout_client.transport import AsyncRunner, Runner

__all__ = ["AsyncDatasets", "DatasetFormat", "Datasets", "upload_dataset"]


def upload_dataset(
    source: str | Path | bytes | SupportsArray | SupportsArrow | None = None,
    *,
    x: ArrayLike | None = None,
    y: ArrayLike | None = None,
    name: str | None = None,
    format: DatasetFormat | None = None,  # noqa: A002  # the name of the thing
    header: bool = True,
    missing: Sequence[str] = (),
    encoding: Literal["utf-8", "utf-16", "latin-1", "cp1252"] | None = None,
    delimiter: str | None = None,
    decimal: Literal[".", ","] = ".",
    thousands: str | None = None,
    comment: str | None = None,
) -> Flow[Dataset]:
    """Store a dataset. The same content has the same id and is stored once.

    Parameters
    ----------
    source
        Path of a file, the content of one, a data frame or Arrow table (kept with its column names), or one array.
        Tables travel as Parquet where pyarrow is installed, and as csv otherwise.
    x, y
        In place of ``source``: features, shape (rows, features), and targets, shape (rows,), numbers or labels.
    name
        A name for people; by default that of the file.
    format
        ``csv``, ``npy``, ``npz``, ``parquet``, ``arrow`` (a file of Arrow IPC) or ``arrows`` (a stream); by default the
        ending of the path. Needed for bytes.
    header
        Of csv: whether the first row has the names of the columns; else they are ``c0``, ``c1``, ...
    missing
        Of csv: cells that stand for no value, such as ``?`` or ``-999``, beside empty ones, NA, NaN and null.
    encoding
        Of csv: the encoding of its text; by default UTF-8, or what the service finds (`dataset.schema.options`).
    delimiter
        Of csv: what is between cells; by default comma, semicolon or tab, as it looks.
    decimal, thousands
        Of csv: the point of its numbers, and what groups their digits, such as ``decimal=","`` and ``thousands="."``.
    comment
        Of csv: what a line begins with that is none of the table, such as ``#``.

    Returns
    -------
    Dataset
        With its id, and the schema that the service found.
    """
    body, kind, file_name = _body(source, x, y, format)
    point = None if decimal == "." else decimal
    dialect = {
        "encoding": encoding,
        "delimiter": delimiter,
        "decimal": point,
        "thousands": thousands,
        "comment": comment,
    }
    response = yield from send(
        Request(
            method="POST",
            path="/datasets",
            params={
                "name": name or file_name,
                "header": None if header else False,
                "missing": [missing] if isinstance(missing, str) else list(missing) or None,
                **{name: mark for name, mark in dialect.items() if mark is not None},
            },
            headers={"Content-Type": MEDIA_TYPES[kind], "Idempotency-Key": str(uuid.uuid4())},
            body=body,
        )
    )
    return Dataset.from_json(response.json())


def get_dataset(dataset_id: str) -> Flow[Dataset]:
    """Read a dataset's schema and the like."""
    response = yield from send(Request(method="GET", path=f"/datasets/{dataset_id}"))
    return Dataset.from_json(response.json())


def list_datasets(*, limit: int | None = None) -> Stream[Dataset]:
    """Iterate the datasets, fetching pages as needed; ``limit`` is the most to give."""
    return pages("/datasets", Dataset.from_json, limit=limit)


def delete_dataset(dataset_id: str) -> Flow[None]:
    """Delete a dataset."""
    yield from send(Request(method="DELETE", path=f"/datasets/{dataset_id}"))


def download_dataset(dataset_id: str, path: str | Path) -> Flow[Path]:
    """Write a dataset's content, as it was uploaded, to a file; taken up again where a connection broke."""
    dataset = yield from get_dataset(dataset_id)
    return (yield from download(f"/datasets/{dataset_id}/content", Path(path), digest=dataset.digest))


def _body(
    source: str | Path | bytes | SupportsArray | SupportsArrow | None,
    x: ArrayLike | None,
    y: ArrayLike | None,
    kind: DatasetFormat | None,
) -> tuple[Body, DatasetFormat, str | None]:
    """Content, format and name of what is to be uploaded."""
    if source is None:
        if x is None or y is None:
            raise TypeError("give a `source`, or both `x` and `y`")
        return arrays.to_npz({"x": x, "y": y}), "npz", None
    if x is not None or y is not None:
        raise TypeError("give either a `source`, or `x` and `y`")
    if isinstance(source, str | Path):
        path = Path(source)
        return path, kind or _format_of(path), path.stem
    if isinstance(source, bytes):
        if kind is None:
            raise TypeError(f"say which `format` the bytes have: one of {', '.join(MEDIA_TYPES)}")
        return source, kind, None
    if arrays.is_table(source):
        return *arrays.to_table(source), None
    return arrays.to_npy(arrays.to_array(source)), "npy", None


def _format_of(path: Path) -> DatasetFormat:
    kind = format_of(path)
    if kind is not None:
        return kind
    known = ", ".join(MEDIA_TYPES)
    raise ValueError(f"the ending of {path.name} tells no format; rename it, or give `format`: one of {known}")


def _as_it_is(_: Runner | AsyncRunner, dataset: Dataset) -> Dataset:
    return dataset


class Datasets(Resource):
    """``client.datasets``."""

    upload = blocking(upload_dataset)
    get = blocking(get_dataset)
    list = blocking_each(_as_it_is, list_datasets)
    delete = blocking(delete_dataset)
    download = blocking(download_dataset)


class AsyncDatasets(AsyncResource):
    """``client.datasets``, awaiting; ``list`` is for ``async for``."""

    upload = awaiting(upload_dataset)
    get = awaiting(get_dataset)
    list = awaiting_each(_as_it_is, list_datasets)
    delete = awaiting(delete_dataset)
    download = awaiting(download_dataset)
