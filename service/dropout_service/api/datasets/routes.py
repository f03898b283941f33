"""Datasets: upload, list, read, download, delete."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, get_args

import numpy as np
from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import contextmanager_in_threadpool
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from dropout_service.api.arrays.npy import encode_npy
from dropout_service.api.datasets import examples
from dropout_service.api.datasets.reports import DatasetReport
from dropout_service.api.dependencies import Blobs, Compute, Datasets, Jobs
from dropout_service.api.http.downloads import DOWNLOAD_RESPONSES, download
from dropout_service.api.http.media_types import ARROW_FILE, ARROW_STREAM, OCTETS, PARQUET, body_media_type
from dropout_service.api.http.openapi import binary_body, binary_example
from dropout_service.api.http.pages import Page, PageQuery
from dropout_service.api.http.problems import problem_responses
from dropout_service.datasets import inline
from dropout_service.datasets.dataset import CsvOptions, DatasetFormat, Encoding
from dropout_service.datasets.registry import key_of
from dropout_service.errors import ConflictError, UnsupportedMediaTypeError
from dropout_service.training.spec.strict import Name

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from dropout_service.datasets.registry import Upload

__all__ = ["router"]

router = APIRouter(prefix="/datasets", tags=["datasets"])

_FORMATS: Final[dict[str, DatasetFormat | None]] = {
    "text/csv": "csv",
    "text/tab-separated-values": "csv",
    "application/x-npy": "npy",
    "application/x-npz": "npz",
    "application/zip": "npz",
    PARQUET: "parquet",
    ARROW_FILE: "arrow",
    ARROW_STREAM: "arrows",
    OCTETS: None,  # the content tells
}
_MEDIA_TYPES: Final[dict[DatasetFormat, str]] = {
    "csv": "text/csv; charset=utf-8",
    "npy": "application/x-npy",
    "npz": "application/x-npz",
    "parquet": PARQUET,
    "arrow": ARROW_FILE,
    "arrows": ARROW_STREAM,
}
_CHARSETS: Final[dict[str, Encoding | None]] = {
    "": None,
    "utf-8": None,
    "utf8": None,
    "us-ascii": None,
    "utf-16": "utf-16",
    "iso-8859-1": "latin-1",
    "latin-1": "latin-1",
    "latin1": "latin-1",
    "windows-1252": "cp1252",
    "cp1252": "cp1252",
}
_MOST_MARKS: Final = 20
Delimiter = Annotated[str, Field(pattern=r"^[\t !#-/:-@\[-`{-~]$")]
Letter = Annotated[str, Field(pattern=r"^[^\r\n\"0-9A-Za-z]$")]
Mark = Annotated[str, Field(min_length=1, max_length=40)]
_BUFFER_BYTES: Final = 1 << 20

_NPY_EXAMPLE: Final = binary_example(
    "Four rows, the last column is the target",
    encode_npy(np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0]], float)),
)


def _example(content: bytes) -> dict[str, Any]:
    return binary_example("Four rows of `a`, `b` and `y`", [content])


_NPZ_EXAMPLE: Final = binary_example(
    "`x` with four rows, and `y`", [inline.from_arrays([[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0])]
)


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
                    "schema": {"type": "string", "description": "CSV (RFC 4180) with a header row."},
                    "example": _CSV_EXAMPLE,
                },
                "application/x-npy": binary_body("A 2-D array of numbers.", array=_NPY_EXAMPLE),
                "application/x-npz": binary_body("The arrays `x` and `y`.", arrays=_NPZ_EXAMPLE),
                PARQUET: binary_body("A Parquet file.", table=_example(examples.PARQUET)),
                ARROW_FILE: binary_body("An Arrow IPC file.", table=_example(examples.ARROW_FILE)),
                ARROW_STREAM: binary_body("An Arrow IPC stream.", table=_example(examples.ARROW_STREAM)),
                OCTETS: binary_body("Any of these: its content tells.", arrays=_NPZ_EXAMPLE),
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
    encoding: Annotated[
        Encoding | None,
        Query(
            description="Of csv: the encoding of its text. Default: that of its byte order mark, UTF-8 if it is that, "
            "else cp1252; the answer says which."
        ),
    ] = None,
    delimiter: Annotated[
        Delimiter | None,
        Query(description="Of csv: what is between cells. Default: comma, semicolon or tab, as it looks."),
    ] = None,
    decimal: Annotated[Literal[".", ","], Query(description="Of csv: the point of its numbers.")] = ".",
    thousands: Annotated[
        Letter | None, Query(description="Of csv: what groups the digits of its numbers by three, such as `.` or `'`.")
    ] = None,
    comment: Annotated[
        Letter | None, Query(description="Of csv: what a line begins with that is none of the table, such as `#`.")
    ] = None,
) -> DatasetReport:
    """Store a table, and learn what is in it before any training.

    `text/csv`: a header row, then numbers, text or nothing (empty, NA, NaN, null), delimited by comma, semicolon or
    tab; `header=false` and `missing=?` for those without a header, or with marks of their own; `encoding`, `delimiter`,
    `decimal`, `thousands` and `comment` for those that are written in another way.
    `application/x-npy`: a 2-D array of numbers, the last column being the target.
    `application/vnd.apache.parquet`, `application/vnd.apache.arrow.file` and `.stream`: columns of numbers, truth
    values, texts, categories, dates and times; what has another type is told as `other`, and left out.
    `application/x-npz`: the arrays `x` (rows, features), `y` (rows,) and perhaps `feature_names`.
    Content that is stored already is answered with 200 and the dataset that holds it.
    """
    said = _said_format(request)
    marks = tuple(sorted({mark.strip() for mark in missing or ()}))
    charset = encoding or _said_encoding(request)
    options = CsvOptions(header, marks, charset, delimiter, decimal, thousands, comment)
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
        media_type=_MEDIA_TYPES.get(dataset.format, OCTETS),
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
    return _FORMATS[body_media_type(request, tuple(_FORMATS))]


def _said_encoding(request: Request) -> Encoding | None:
    """Return what the content type says of the encoding; nothing of UTF-8, which is found."""
    parameters = request.headers["content-type"].partition(";")[2]
    charset = parameters.partition("charset=")[2].strip().strip('"').lower()
    if charset not in _CHARSETS:
        others = ", ".join(get_args(Encoding)[1:])
        raise UnsupportedMediaTypeError(f"charset {charset!r} is not read; send the table in UTF-8, or {others}")
    return _CHARSETS[charset]


async def _receive(request: Request, upload: Upload) -> None:
    """Write the body to the upload, off the event loop and in pieces that are worth the change of threads."""
    buffer = bytearray()
    async for chunk in request.stream():
        buffer += chunk
        if len(buffer) >= _BUFFER_BYTES:
            await run_in_threadpool(upload.write, buffer)
            buffer = bytearray()
    await run_in_threadpool(upload.write, buffer)
