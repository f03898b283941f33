from __future__ import annotations

import pytest

from dropout_client.sse import Frame, FrameDecoder

STREAM = (
    b"\xef\xbb\xbf: keep-alive\n\n"
    b"id: 1\nevent: queued\ndata: {}\n\n"
    b"id: 2\r\nevent: epoch\r\ndata: first\r\ndata:second\r\nretry: 10\r\n\r\n"
    b"data: \xc3\xa4\xe2\x82\xac\r\r"
    b"id: 3\n\n"
    b"event: never finished\ndata: lost"
)
FRAMES = [Frame("queued", "{}", "1"), Frame("epoch", "first\nsecond", "2"), Frame("message", "ä€", None)]


def test_frames_are_read():
    assert list(FrameDecoder().feed(STREAM)) == FRAMES


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_it_does_not_matter_where_the_bytes_are_cut(size: int):
    decoder = FrameDecoder()
    chunks = [STREAM[start : start + size] for start in range(0, len(STREAM), size)]
    assert [frame for chunk in chunks for frame in decoder.feed(chunk)] == FRAMES


def test_comments_and_empty_events_give_nothing():
    assert list(FrameDecoder().feed(b":\n\n\n\nevent: x\n\nunknown: y\ndata\n\n")) == [Frame("message", "", None)]
