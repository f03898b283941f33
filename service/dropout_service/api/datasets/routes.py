"""Datasets: upload, list, read, download, delete."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, Final, Self

import numpy as np
from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import contextmanager_in_threadpool
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from dropout_service.api.arrays.npy import encode_npy
from dropout_service.api.dependencies import Blobs, Compute, Datasets, Jobs
from dropout_service.api.http.downloads import DOWNLOAD_RESPONSES, download
from dropout_service.api.http.media_types import body_media_type
from dropout_service.api.http.openapi import binary_body, binary_example
from dropout_service.api.http.pages import Page, PageQuery
from dropout_service.api.http.problems import problem_responses
from dropout_service.datasets import inline
from dropout_service.datasets.dataset import ColumnType, CsvOptions, DatasetFormat
from dropout_service.datasets.decisions import decide
from dropout_service.datasets.registry import key_of
from dropout_service.errors import ConflictError, UnsupportedMediaTypeError
from dropout_service.training.spec import ColumnKind
from dropout_service.training.spec.strict import Name

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from dropout_service.datasets.dataset import Dataset
    from dropout_service.datasets.registry import Upload

__all__ = ["DatasetReport", "router"]

router = APIRouter(prefix="/datasets", tags=["datasets"])

_FORMATS: Final[dict[str, DatasetFormat | None]] = {
    "text/csv": "csv",
    "text/tab-separated-values": "csv",
    "application/x-npy": "npy",
    "application/x-npz": "npz",
    "application/zip": "npz",
    "application/octet-stream": None,  # the content tells
}
_MEDIA_TYPES: Final[dict[DatasetFormat, str]] = {
    "csv": "text/csv; charset=utf-8",
    "npy": "application/x-npy",
    "npz": "application/x-npz",
}
_MOST_MARKS: Final = 20
Mark = Annotated[str, Field(min_length=1, max_length=40)]
_BUFFER_BYTES: Final = 1 << 20

_NPY_EXAMPLE: Final = binary_example(
    "Four rows, the last column is the target",
    encode_npy(np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0]], float)),
)
_NPZ_EXAMPLE: Final = binary_example(
    "`x` with four rows, and `y`", [inline.from_arrays([[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0])]
)


class _Report(BaseModel):
    model_config = ConfigDict(from_attributes=True, frozen=True)


class ClassCountReport(_Report):
    """How often a value occurs."""

    label: str | int | float | bool
    count: int


class BadCellReport(_Report):
    """A cell that does not fit the type of its column."""

    row: int = Field(description="Number of the row, from 1; the header is not counted.")
    column: str
    value: str = Field(description="What the cell holds, shortened if it is long.")
    message: str = Field(description="What is wrong with it.")


class DecisionReport(_Report):
    """What a training does with a column unless `data.columns` or `data.features` say otherwise."""

    use: bool = Field(description="Whether it is a feature.")
    kind: ColumnKind = Field(description="As what.")
    reason: str = Field(description="Why.", examples=["category: 3 distinct texts"])


class ColumnReport(_Report):
    """One column."""

    name: str
    type: ColumnType | str = Field(
        description="The type of at least nine in ten of its values. `integer`: every number is whole; `empty`: no "
        "cell has a value."
    )
    missing: int = Field(description="Cells without a value: empty, NA, N/A, NaN or null.")
    bad: int = Field(description="Cells that do not fit the type: text among numbers, infinities.")
    distinct: int = Field(description="Number of distinct values; a lower bound when `distinct_exact` is false.")
    distinct_exact: bool = Field(
        description="False above 10,000 distinct values (fewer in a wide table), where counting stops."
    )
    min: float | None
    max: float | None
    mean: float | None
    std: float | None = Field(description="Population standard deviation (ddof 0) of the finite numbers.")
    classes: list[ClassCountReport] | None = Field(
        description="Every value with its count, in sorted order, when there are at most 100 (fewer in a wide table)."
    )
    constant: bool = Field(description="Whether all values are equal, so that nothing can be learned from the column.")
    date: bool = Field(description="Whether each value of a column of text is a date or time of ISO 8601.")
    training: DecisionReport | None = Field(
        default=None, description="What a training does with it by default; null for the default target."
    )


class CsvOptionsReport(_Report):
    """How a csv file is read."""

    header: bool = Field(description="Whether its first row has the names of the columns.")
    missing: list[str] = Field(description="Cells that stand for no value, beside those that always do.")


class TableReport(_Report):
    """What is in a dataset."""

    rows: int = Field(description="Number of rows, without the header.")
    columns: list[ColumnReport] = Field(description="The columns in their order; of an npz those of `x`, then `y`.")
    target: str = Field(description="The column that a training predicts unless its specification names another.")
    bad_cells: list[BadCellReport] = Field(description="The first 5 bad cells of a column, at most 50 in all.")
    options: CsvOptionsReport = Field(description="How a csv file is read: what was said when it was uploaded.")


class DatasetReport(_Report):
    """A stored dataset, with what was found in it."""

    id: str = Field(
        description="`sha256-` and the first 32 digits of the content's digest: the same content has the same id.",
        examples=["sha256-3560fc1e62ef070c73f537e1441efc16"],
    )
    name: str = Field(description="A name for people: the one given first, or the id.")
    format: DatasetFormat | str = Field(description="How the content is written.")
    size_bytes: int
    created_at: datetime = Field(description="When it was stored (UTC).")
    digest: str = Field(description="`sha256:` and all digits of the SHA-256 of the content.")
    table: TableReport = Field(alias="schema", description="Rows, columns, types, missing values and classes.")
    unreadable: str | None = Field(
        default=None, description="Why the stored schema cannot be read, which has no columns then. Null otherwise."
    )

    @classmethod
    def of(cls, dataset: Dataset) -> Self:
        """Tell of a dataset, and what a training does with its columns."""
        report = cls.model_validate(dataset)
        schema = dataset.schema
        columns = [
            told
            if column.name == schema.target
            else told.model_copy(
                update={"training": DecisionReport.model_validate(decide(column, schema, dataset.format))}
            )
            for told, column in zip(report.table.columns, schema.columns, strict=True)
        ]
        return report.model_copy(update={"table": report.table.model_copy(update={"columns": columns})})


_CSV_EXAMPLE: Final = "height,weight,kind\n1.71,64.5,cat\n1.84,81.0,dog\n1.65,59.2,cat\n"


@router.post(
    "",
    operation_id="upload_dataset",
    summary="Upload a dataset",
    status_code=201,
    responses={
        200: {"model": DatasetReport, "description": "The same content is stored already"},
        **problem_responses(413, 415, 503, 507),
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "text/csv": {
                    "schema": {"type": "string", "description": "CSV in UTF-8 (RFC 4180) with a header row."},
                    "example": _CSV_EXAMPLE,
                },
                "application/x-npy": binary_body("A 2-D array of numbers.", array=_NPY_EXAMPLE),
                "application/x-npz": binary_body("The arrays `x` and `y`.", arrays=_NPZ_EXAMPLE),
                "application/octet-stream": binary_body("Any of these: its content tells.", arrays=_NPZ_EXAMPLE),
            },
        }
    },
)
async def upload_dataset(
    request: Request,
    response: Response,
    datasets: Datasets,
    compute: Compute,
    *,
    name: Annotated[Name | None, Query(description="A name for people. Default: the id.")] = None,
    header: Annotated[
        bool, Query(description="Of csv: whether the first row has the names of the columns; else they are c0, c1, ...")
    ] = True,
    missing: Annotated[
        list[Mark] | None,
        Query(
            max_length=_MOST_MARKS,
            description="Of csv: a cell that stands for no value, such as `?` or `-999`, beside an empty one, NA, N/A, "
            "NaN and null; several times for several.",
        ),
    ] = None,
) -> DatasetReport:
    """Store a table, and learn what is in it before any training.

    `text/csv`: a header row, then numbers, text or nothing (empty, NA, NaN, null) in UTF-8, delimited by comma,
    semicolon or tab; `header=false` and `missing=?` for those without a header, or with marks of their own.
    `application/x-npy`: a 2-D array of numbers, the last column being the target.
    `application/x-npz`: the arrays `x` (rows, features), `y` (rows,) and perhaps `feature_names`.
    Content that is stored already is answered with 200 and the dataset that holds it.
    """
    said = _said_format(request)
    options = CsvOptions(header, tuple(sorted({mark.strip() for mark in missing or ()})))
    with compute.place() as place:
        async with contextmanager_in_threadpool(datasets.upload()) as upload:
            await _receive(request, upload)
            dataset, created = await place.run(
                request, partial(datasets.add, upload, name=name, format=said, options=options)
            )
    response.status_code = 201 if created else 200
    response.headers["Location"] = f"/datasets/{dataset.id}"
    return DatasetReport.of(dataset)


@router.get("", operation_id="list_datasets", summary="List datasets", responses=problem_responses())
def list_datasets(datasets: Datasets, page: PageQuery) -> Page[DatasetReport]:
    """Give the datasets, newest first, in pages; a page of wide tables may have fewer than `limit`."""
    limit = datasets.fitting(limit=page.limit, after=page.after)
    found = datasets.list(limit=limit + 1, after=page.after)
    return Page[DatasetReport].of(found, limit=limit, key=key_of, item=DatasetReport.of)


@router.get("/{dataset_id}", operation_id="get_dataset", summary="Read a dataset", responses=problem_responses(404))
def get_dataset(dataset_id: str, datasets: Datasets) -> DatasetReport:
    """Give a dataset's schema: rows, columns, types, missing values, classes, bad cells."""
    return DatasetReport.of(datasets.get(dataset_id))


@router.get(
    "/{dataset_id}/content",
    operation_id="download_dataset",
    summary="Download a dataset",
    response_class=Response,
    responses={
        200: {"description": "The content as it was uploaded", "content": {_MEDIA_TYPES[f]: {} for f in _MEDIA_TYPES}},
        **DOWNLOAD_RESPONSES,
        **problem_responses(404, 503),
    },
)
def download_dataset(dataset_id: str, request: Request, datasets: Datasets, blobs: Blobs) -> Response:
    """Give the content, byte for byte as it was uploaded; `Range` and `If-None-Match` are understood."""
    dataset = datasets.get(dataset_id)
    return download(
        request,
        blobs,
        key=dataset.blob_key,
        size_bytes=dataset.size_bytes,
        digest=dataset.digest,
        media_type=_MEDIA_TYPES[dataset.format],
        filename=f"{dataset.name.removesuffix(f'.{dataset.format}')}.{dataset.format}",
    )


@router.delete(
    "/{dataset_id}",
    operation_id="delete_dataset",
    summary="Delete a dataset",
    status_code=204,
    responses=problem_responses(404, 409),
)
def delete_dataset(dataset_id: str, datasets: Datasets, jobs: Jobs) -> None:
    """Delete a dataset and its content, unless a job that has not ended needs it."""

    def refuse_if_used(connection: Connection) -> None:
        if jobs.uses_dataset(dataset_id, connection=connection):
            raise ConflictError(
                f"a job that has not ended uses dataset `{dataset_id}`; wait for its end, or cancel it, then delete"
            )

    datasets.delete(dataset_id, in_transaction=refuse_if_used)


def _said_format(request: Request) -> DatasetFormat | None:
    media_type = body_media_type(request, tuple(_FORMATS))
    parameters = request.headers["content-type"].partition(";")[2]
    charset = parameters.partition("charset=")[2].strip().strip('"').lower()
    if charset not in {"", "utf-8", "utf8", "us-ascii"}:
        raise UnsupportedMediaTypeError(f"charset {charset!r} is not read; send the table in UTF-8")
    return _FORMATS[media_type]


async def _receive(request: Request, upload: Upload) -> None:
    """Write the body to the upload, off the event loop and in pieces that are worth the change of threads."""
    buffer = bytearray()
    async for chunk in request.stream():
        buffer += chunk
        if len(buffer) >= _BUFFER_BYTES:
            await run_in_threadpool(upload.write, buffer)
            buffer = bytearray()
    await run_in_threadpool(upload.write, buffer)
