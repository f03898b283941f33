"""Downloads that go on where a broken connection left them, and are checked at the end."""

from __future__ import annotations

import hashlib
from functools import partial
from typing import TYPE_CHECKING

from dropout_client.errors import APIConnectionError, UnexpectedResponseError
from dropout_client.flows import Request, call, read, send

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

    from dropout_client.flows import Flow

__all__ = ["download"]

_PARTIAL_CONTENT = 206
_MOST_BREAKS = 10
_CHUNK_BYTES = 1 << 20


def download(path: str, target: Path, *, digest: str | None) -> Flow[Path]:
    """Fetch a file.

    Parameters
    ----------
    path
        Where the service has it.
    target
        Where to put it; a folder that does not exist is not made. The file is there only when it is complete.
    digest
        What its content must hash to, as ``sha256:<hex>``.

    Returns
    -------
    Path
        ``target``.

    Raises
    ------
    UnexpectedResponseError
        What came has another digest.
    """
    part = target.with_name(f"{target.name}.part")
    try:
        with part.open("w+b") as file:
            yield from _fill(path, file)
            found = yield from call(partial(_digest, file))
        if digest is not None and found != digest:
            raise UnexpectedResponseError(f"{path} arrived as {found}, which is not the promised {digest}")
        return part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _fill(path: str, file: BinaryIO) -> Flow[None]:
    tag: str | None = None
    for breaks in range(_MOST_BREAKS + 1):
        resume = {"Range": f"bytes={file.tell()}-", "If-Range": tag} if tag is not None and file.tell() else {}
        # Unencoded, because the range, the digest and the length speak of the plain bytes.
        response = yield from send(
            Request(method="GET", path=path, headers={"Accept-Encoding": "identity", **resume}, stream=True)
        )
        if response.status_code != _PARTIAL_CONTENT:
            file.seek(0)
            file.truncate()
        tag = response.headers.get("etag")
        try:
            yield from _receive(file)
        except APIConnectionError:
            if breaks == _MOST_BREAKS:
                raise
        else:
            return


def _receive(file: BinaryIO) -> Flow[None]:
    """Write what comes, in pieces that are worth the change of threads that an event loop needs for it."""
    buffer = bytearray()
    try:
        while chunk := (yield from read()):
            buffer += chunk
            if len(buffer) >= _CHUNK_BYTES:
                yield from call(partial(file.write, bytes(buffer)))
                buffer.clear()
    finally:
        file.write(buffer)


def _digest(file: BinaryIO) -> str:
    file.seek(0)
    sha256 = hashlib.sha256()
    while chunk := file.read(_CHUNK_BYTES):
        sha256.update(chunk)
    return f"sha256:{sha256.hexdigest()}"
