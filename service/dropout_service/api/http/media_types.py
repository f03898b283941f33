"""Which form a body has, and which form its answer should have (RFC 9110, sections 8.3 and 12.5.1)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from dropout_service.errors import NotAcceptableError, UnsupportedMediaTypeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

__all__ = [
    "ARROW_FILE",
    "ARROW_STREAM",
    "CSV",
    "JSON",
    "OCTETS",
    "PARQUET",
    "accepted_media_type",
    "body_media_type",
    "check_encoding",
]

CSV: Final = "text/csv"
JSON: Final = "application/json"
PARQUET: Final = "application/vnd.apache.parquet"
ARROW_FILE: Final = "application/vnd.apache.arrow.file"
ARROW_STREAM: Final = "application/vnd.apache.arrow.stream"
OCTETS: Final = "application/octet-stream"
"""Content of any form, which tells it by itself."""

_RANGE: Final = re.compile(r"\s*([^\s;,]+)\s*((?:;[^,]*)?)")
_QUALITY: Final = re.compile(r";\s*q\s*=\s*([0-9.]+)", re.IGNORECASE)


def body_media_type(request: Request, supported: Sequence[str]) -> str:
    """Return the media type of the body.

    Raises
    ------
    UnsupportedMediaTypeError
        When it is none of the supported ones, or when the body is compressed.
    """
    given = request.headers.get("content-type", "")
    media_type = given.partition(";")[0].strip().lower()
    if media_type not in supported:
        told = f"content type {given!r} is not read here" if given else "there is no Content-Type header"
        raise UnsupportedMediaTypeError(f"{told}; this operation reads {', '.join(supported)}")
    check_encoding(request)
    return media_type


def check_encoding(request: Request) -> None:
    """Refuse a compressed body, which would be taken for a damaged one.

    Raises
    ------
    UnsupportedMediaTypeError
        When the body has a ``Content-Encoding``.
    """
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.lower() not in {"", "identity"}:
        raise UnsupportedMediaTypeError(f"content encoding {encoding!r} is not read; send the content as it is")


def accepted_media_type(request: Request, offered: Sequence[str], default: str) -> str:
    """Return the offered media type that the ``Accept`` header prefers; between equals, ``default`` first.

    Raises
    ------
    NotAcceptableError
        When the header rules all of them out.
    """
    accept = ",".join(request.headers.getlist("accept"))
    if accept in {"", "*/*", default}:
        return default
    ranges = _ranges(accept)
    candidates = [default, *(media_type for media_type in offered if media_type != default)]
    best = max(candidates, key=lambda media_type: _quality(media_type, ranges))
    if _quality(best, ranges) <= 0:
        raise NotAcceptableError(f"this operation answers {', '.join(offered)}; the Accept header allows none of them")
    return best


def _ranges(accept: str) -> dict[str, float]:
    ranges: dict[str, float] = {}
    for match in _RANGE.finditer(accept):
        quality = _QUALITY.search(match[2])
        try:
            ranges[match[1].lower()] = float(quality[1]) if quality else 1.0
        except ValueError:  # such as q=1.2.3: then the range is as good as not there
            continue
    return ranges


def _quality(media_type: str, ranges: dict[str, float]) -> float:
    """Return the quality of the most specific range that matches, whatever its place."""
    for candidate in (media_type, f"{media_type.partition('/')[0]}/*", "*/*"):
        if candidate in ranges:
            return ranges[candidate]
    return 0.0
