"""Server-sent events: bytes in, frames out (WHATWG HTML, section 9.2.6)."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Frame", "FrameDecoder"]

# A carriage return at the end of what has come may be half of a line end, so it waits for the next character.
_LINE_END = re.compile(r"\r\n|\n|\r(?=[\s\S])")


@dataclass(frozen=True, slots=True)
class Frame:
    """One event of the stream.

    Parameters
    ----------
    event
        Its type; ``message`` if the stream names none.
    data
        Its data lines, joined by line feeds.
    id
        Its own id, ``None`` if it has none.
    """

    event: str
    data: str
    id: str | None


class FrameDecoder:
    """Collect the bytes of an event stream, cut anywhere, into frames."""

    def __init__(self) -> None:
        self._text = codecs.getincrementaldecoder("utf-8-sig")(errors="replace")
        self._pending = ""
        self._event = ""
        self._data: list[str] = []
        self._id: str | None = None

    def feed(self, chunk: bytes) -> Iterator[Frame]:
        """Take the next bytes and give the frames that they complete."""
        *lines, self._pending = _LINE_END.split(self._pending + self._text.decode(chunk))
        for line in lines:
            if line:
                self._field(line)
            else:
                yield from self._dispatch()

    def _field(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "event":
                self._event = value
            case "data":
                self._data.append(value)
            case "id" if "\0" not in value:
                self._id = value
            case _:  # a comment (the name is empty), or a field that means nothing to us
                pass

    def _dispatch(self) -> Iterator[Frame]:
        if self._data:
            yield Frame(self._event or "message", "\n".join(self._data), self._id)
        self._event, self._data, self._id = "", [], None
