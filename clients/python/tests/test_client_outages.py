"""How long the service may be away, driven by hand: no network, and a clock that pauses move."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from dropout_client import APIConnectionError, job_flows
from dropout_client.errors import status_error
from dropout_client.flows import Emit, Pause, Read, Request, Response
from dropout_client.job_flows import follow_job, job_events

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dropout_client.errors import DropoutError
    from dropout_client.records import JobRecord

    Flow = Callable[[], Any]
    Reply = Callable[[Request | Read], Response | bytes | DropoutError]

AWAY = APIConnectionError("refused")
STREAM = Response(200, {"content-type": "text/event-stream"}, bytearray())
KEEP_ALIVE = b": still there\n\n"
END = b'data: {"sequence": 1, "type": "succeeded", "at": "2026-11-22T09:00:00Z", "data": {}}\n\n'
DONE = Response(
    200, {}, bytearray(b'{"id": "job_1", "status": "succeeded", "created_at": "2026-11-22T09:00:00Z", "progress": 1}')
)


class Clock:
    """The seconds that have passed."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(job_flows, "time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


def play(flow: Any, clock: Clock, reply: Reply) -> list[Any]:
    """Perform a stream to its end; pauses take no time but move the clock."""
    items: list[Any] = []
    effect = next(flow)
    while True:
        try:
            match effect:
                case Emit():
                    items.append(effect.item)
                    effect = flow.send(None)
                case Pause():
                    clock.now_s += effect.seconds
                    effect = flow.send(None)
                case _:
                    answer = reply(effect)
                    effect = flow.throw(answer) if isinstance(answer, Exception) else flow.send(answer)
        except StopIteration:
            return items


def events() -> Any:
    return job_events("job_1")


def waiting() -> Any:
    """Give the states that are told, as a stream."""
    told: list[JobRecord] = []
    yield from follow_job("job_1", told.append, every_s=30, timeout=None)
    for record in told:
        yield Emit(record)


def streams(count: int, chunks: Sequence[bytes], clock: Clock, *, chunk_s: float = 0.0) -> Reply:
    """Answer with this many streams of these chunks, then with one that holds the end of the job."""
    begun, left = 0, iter(chunks)

    def reply(effect: Request | Read) -> Response | bytes:
        nonlocal begun, left
        if isinstance(effect, Request):
            begun, left = begun + 1, iter(chunks)
            return STREAM
        clock.now_s += chunk_s
        return END if begun > count else next(left, b"")

    return reply


@pytest.mark.parametrize(("flow", "good"), [(events, STREAM), (waiting, DONE)], ids=["events", "waiting"])
@pytest.mark.parametrize("away", [AWAY, status_error(503, {}, bytearray())], ids=["refused", "503"])
def test_a_service_may_be_away_for_two_minutes(flow: Flow, good: Response, away: DropoutError, clock: Clock):
    def back_at(end_s: float) -> Reply:
        return lambda effect: END if isinstance(effect, Read) else good if clock.now_s > end_s else away

    assert len(play(flow(), clock, back_at(119))) == 1
    begin_s = clock.now_s
    with pytest.raises(type(away)):
        play(flow(), clock, back_at(begin_s + 130))
    assert clock.now_s < begin_s + 130


@pytest.mark.parametrize("chunks", [[], [KEEP_ALIVE, KEEP_ALIVE]], ids=["nothing", "signs of life"])
def test_streams_may_end_as_often_as_they_like(chunks: list[bytes], clock: Clock):
    (end,) = play(events(), clock, streams(40, chunks, clock, chunk_s=15.0))
    assert end.type == "succeeded"
    assert clock.now_s > 600


def test_a_stream_that_said_something_is_taken_up_again_at_once_and_a_silent_one_is_not(clock: Clock):
    play(events(), clock, streams(20, [KEEP_ALIVE], clock))
    said_s = clock.now_s
    play(events(), clock, streams(20, [], clock))
    assert said_s < 20 * 0.25
    assert clock.now_s - said_s > 20 * 3
