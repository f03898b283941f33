"""Stored content as a download: strong ETag, ``If-None-Match``, a single ``Range``, and the digest (RFC 9110, 9530)."""

from __future__ import annotations

import re
from base64 import b64encode
from itertools import chain
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from starlette.responses import Response, StreamingResponse

from dropout_service.api.http.conditional import matches
from dropout_service.api.http.problems import Problem, problem_response
from dropout_service.errors import NotFoundError

if TYPE_CHECKING:
    from starlette.requests import Request

    from dropout_service.blobs import BlobStore

__all__ = ["DOWNLOAD_RESPONSES", "download"]

DOWNLOAD_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    206: {"description": "The part of the content that `Range` asked for"},
    304: {"description": "The content still is that of `If-None-Match`"},
    416: {"description": "The content ends before the range that `Range` asked for"},
}
"""For the ``responses=`` of a route that answers with ``download``."""

_RANGE: Final = re.compile(r"bytes=\s*([0-9]*)-([0-9]*)\s*", re.IGNORECASE)
_DIGITS: Final = 18
_PLAIN: Final = re.compile(r"[^A-Za-z0-9._-]+")


def download(
    request: Request, blobs: BlobStore, *, key: str, size_bytes: int, digest: str, media_type: str, filename: str
) -> Response:
    """Answer a request for a blob.

    Parameters
    ----------
    request
        The request; its conditional and range headers are obeyed.
    blobs, key
        Where the content is.
    size_bytes, digest
        Of the content; ``sha256:...``. The digest is the ETag, so it holds over restarts and replicas.
    media_type, filename
        What to call it.

    Raises
    ------
    NotFoundError
        The content was deleted a moment ago.
    UnavailableError
        The store does not give it.
    """
    etag = f'"{digest}"'
    sha256 = b64encode(bytes.fromhex(digest.removeprefix("sha256:"))).decode()
    headers = {"ETag": etag, "Accept-Ranges": "bytes", "Repr-Digest": f"sha-256=:{sha256}:"}
    if matches(request.headers.get("if-none-match"), etag):
        return Response(status_code=304, headers=headers)
    status, start, end = 200, 0, size_bytes
    wanted = _RANGE.fullmatch(request.headers.get("range", ""))
    # A range of another version of the content, several ranges and unknown units are answered with all of it.
    if wanted is not None and any(wanted.groups()) and request.headers.get("if-range", etag) == etag:
        status, (start, end) = 206, _bounds(wanted[1], wanted[2], size_bytes)
        if start >= end:
            return problem_response(
                request.scope,
                code="range-not-satisfiable",
                problem=Problem(416, "The range cannot be satisfied"),
                detail=f"the content has {size_bytes:,} bytes; {wanted[0].strip()} asks for none of them",
                headers={"Content-Range": f"bytes */{size_bytes}"},
            )
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size_bytes}"
    chunks = blobs.stream(key, start, end)
    try:
        first = next(chunks, b"")  # before the head: what is wrong with the store is an answer, not half an answer
    except NotFoundError as error:
        raise NotFoundError("the content has been deleted") from error
    headers["Content-Length"] = str(end - start)
    headers["Content-Disposition"] = _disposition(filename)
    return StreamingResponse(chain([first], chunks), status, headers, media_type=media_type)


def _bounds(first: str, last: str, size: int) -> tuple[int, int]:
    if not first:  # the last so many bytes
        return size - _at_most(last, size), size
    end = min(_at_most(last, size) + 1, size) if last else size
    return _at_most(first, size), end


def _at_most(digits: str, size: int) -> int:
    """Read a number, up to a size; Python refuses to read thousands of digits, and no content has so many bytes."""
    return size if len(digits.lstrip("0")) > _DIGITS else min(int(digits), size)


def _disposition(filename: str) -> str:
    plain = _PLAIN.sub("_", filename)
    # RFC 6266: the plain name for old clients, the exact one for all others.
    exact = "" if plain == filename else f"; filename*=UTF-8''{quote(filename, safe='')}"
    return f'attachment; filename="{plain}"{exact}'
