"""A CSV file as a stream of UTF-8: what its encoding is, and the bytes that PyArrow's parser is given."""

from __future__ import annotations

import codecs
import io
import re
from typing import TYPE_CHECKING, Final

from dropout_service.errors import InvalidInputError

if TYPE_CHECKING:
    from pathlib import Path

    from dropout_service.datasets.dataset import Encoding

__all__ = ["MAX_LINE_BYTES", "Utf8Source", "detect_encoding"]

MAX_LINE_BYTES: Final = 1 << 24
"""Bytes of a line, and of what is parsed at a time."""

_CHUNK_BYTES: Final = 1 << 22
_UTF16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def detect_encoding(path: Path) -> Encoding:
    """Tell the encoding of a file: by its byte order mark, UTF-8 if all of it is that, else cp1252.

    Raises
    ------
    InvalidInputError
        It is UTF-8 down to a byte that is not: damaged, and no text of one byte a character.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    position, has_utf8 = 0, False
    with path.open("rb") as file:
        if file.read(2) in _UTF16:
            return "utf-16"
        file.seek(0)
        while True:
            chunk = file.read(_CHUNK_BYTES)
            pending = decoder.getstate()[0]
            if pending or not chunk.isascii():
                try:
                    has_utf8 |= not decoder.decode(chunk, final=not chunk).isascii()
                except UnicodeDecodeError as error:
                    if not has_utf8 and error.object[: error.start].isascii():
                        return "cp1252"
                    raise _undecodable(
                        position - len(pending) + error.start, error.object[error.start], "utf-8"
                    ) from None
            if not chunk:
                return "utf-8"
            position += len(chunk)


class Utf8Source(io.RawIOBase):
    """The text of a file in UTF-8, without a byte order mark, comments, and spaces before quotes.

    Parameters
    ----------
    path
        The file.
    encoding
        Of the file.
    comment
        What a line begins with that is none of the table; ``None`` for nothing.
    spaced
        The delimiter, if cells are quoted behind delimiter and space, which RFC 4180 does not have.
    skip_bytes
        How many bytes of the result are left out: those of a header.
    end
        What is added behind the last line.
    """

    def __init__(
        self,
        path: Path,
        encoding: Encoding,
        *,
        comment: str | None = None,
        spaced: str | None = None,
        skip_bytes: int = 0,
        end: bytes = b"",
    ) -> None:
        super().__init__()
        self._file = path.open("rb")
        self._encoding: Encoding = encoding
        if encoding == "utf-8" and self._file.read(3) != codecs.BOM_UTF8:
            self._file.seek(0)
        is_bare = encoding == "utf-16" and self._file.read(2) not in _UTF16
        if encoding == "utf-16":
            self._file.seek(0)
        self._decoder = codecs.getincrementaldecoder("utf-16-le" if is_bare else encoding)()
        self._changes: list[tuple[re.Pattern[bytes], bytes]] = []
        if comment is not None:
            # The end of the line stays: blank lines do not count.
            pattern = rb"(?<![^\r\n])" + re.escape(comment.encode()) + rb"[^\r\n]*"
            self._changes.append((re.compile(pattern), b""))
        if spaced is not None:
            mark = re.escape(spaced.encode())
            # Within a quoted cell quotes are there twice: an odd number begins one, and two are an empty one.
            begins = rb'(?="(?:"")*(?!["\r\n' + mark + rb']|$)|""(?:[\r\n' + mark + rb"]|$))"
            self._changes.append((re.compile(rb"(" + mark + rb"|(?<![^\r\n])) +" + begins), rb"\1"))
        self._held = b""
        """The beginning of a line, whose end was not read yet."""
        self._rest = b""
        """What was read and not given away yet."""
        self._skip_bytes = skip_bytes
        self._end = end

    def readable(self) -> bool:
        """Whether it can be read from: yes."""
        return True

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()

    def readall(self) -> bytes:
        """Read all that there is."""
        return b"".join(iter(self.read, b""))

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes, so many unless the end comes before."""
        part = size if size > 0 else _CHUNK_BYTES
        taken = self._some(part)
        while len(taken) < part and (more := self._some(part - len(taken))):
            taken += more
        return taken

    def _some(self, part: int) -> bytes:
        """Return some of the next bytes; none at the end."""
        while not self._rest:
            chunk = self._next(part)
            if chunk is None:
                self._rest, self._end = self._end, b""
                break
            skipped = min(self._skip_bytes, len(chunk))
            self._skip_bytes -= skipped
            self._rest = chunk[skipped:] if skipped else chunk
        if len(self._rest) <= part:
            taken, self._rest = self._rest, b""
        else:
            taken, self._rest = self._rest[:part], self._rest[part:]
        return taken

    def _next(self, size: int) -> bytes | None:
        """Return a chunk of the text, of whole lines where lines are changed; ``None`` at the end."""
        if not self._changes:
            return self._utf8(size)
        while (chunk := self._utf8(size)) is not None:
            self._held += chunk
            whole = max(self._held.rfind(b"\n"), self._held.rfind(b"\r")) + 1
            if whole:
                lines, self._held = self._held[:whole], self._held[whole:]
                return self._changed(lines)
            if len(self._held) > MAX_LINE_BYTES:
                raise InvalidInputError(f"a line has more than {MAX_LINE_BYTES:,} characters; is this a CSV file?")
        lines, self._held = self._held, b""
        return self._changed(lines) if lines else None

    def _changed(self, lines: bytes) -> bytes:
        for pattern, instead in self._changes:
            lines = pattern.sub(instead, lines)
        return lines

    def _utf8(self, size: int) -> bytes | None:
        position = self._file.tell()
        chunk = self._file.read(size)
        pending = self._decoder.getstate()[0]
        if self._encoding != "utf-16" and chunk.isascii() and not pending:
            return chunk or None
        try:
            text = self._decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            at = position - len(pending) + error.start
            raise _undecodable(at, error.object[error.start], self._encoding) from None
        if self._encoding == "utf-8":
            return chunk or None
        return text.encode() if chunk or text else None


def _undecodable(position: int, byte: int, encoding: Encoding) -> InvalidInputError:
    return InvalidInputError(
        f"byte {position} of the file (0x{byte:02x}) is not {encoding.upper()} text; "
        "save the file as CSV in UTF-8, or say which `encoding` it has"
    )
