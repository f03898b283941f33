"""How one flow becomes a method of the blocking and of the awaiting client.

::

    class Dropout(Resource):
        forward = blocking(forward)        # client.dropout.forward(x, rate=0.5) -> ForwardResult


    class AsyncDropout(AsyncResource):
        forward = awaiting(forward)        # await client.dropout.forward(x, rate=0.5) -> ForwardResult

    class Job(Resource):
        refresh = updating(refresh)        # job.refresh() -> job

The methods keep the flow's parameters, types and docstring.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Iterator

    from dropout_client.flows import Flow, Stream
    from dropout_client.transport import AsyncRunner, Runner

__all__ = [
    "AsyncResource",
    "Resource",
    "asking",
    "asking_as",
    "async_asking",
    "async_asking_as",
    "async_following",
    "async_updating",
    "awaiting",
    "awaiting_as",
    "awaiting_each",
    "blocking",
    "blocking_as",
    "blocking_each",
    "following",
    "updating",
]

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")


class Resource:
    """A part of the blocking client."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner


class AsyncResource:
    """A part of the awaiting client."""

    def __init__(self, runner: AsyncRunner) -> None:
        self.runner = runner


H = TypeVar("H", bound=Resource)
A = TypeVar("A", bound=AsyncResource)


def blocking(flow: Callable[P, Flow[T]]) -> Callable[Concatenate[Resource, P], T]:
    """Make a method that performs a flow and returns its result."""
    return _blocking(flow, _without_self(flow), _result)


def awaiting(flow: Callable[P, Flow[T]]) -> Callable[Concatenate[AsyncResource, P], Coroutine[Any, Any, T]]:
    """Make a coroutine method that performs a flow and returns its result."""
    return _awaiting(flow, _without_self(flow), _result)


def blocking_as(handle: Callable[[Runner, T], R], flow: Callable[P, Flow[T]]) -> Callable[Concatenate[Resource, P], R]:
    """As :func:`blocking`, with the result made a handle that has methods of its own."""
    return _blocking(flow, _without_self(flow), _as(handle))


def awaiting_as(
    handle: Callable[[AsyncRunner, T], R], flow: Callable[P, Flow[T]]
) -> Callable[Concatenate[AsyncResource, P], Coroutine[Any, Any, R]]:
    """As :func:`awaiting`, with the result made a handle that has methods of its own."""
    return _awaiting(flow, _without_self(flow), _as(handle))


def blocking_each(
    handle: Callable[[Runner, T], R], stream: Callable[P, Stream[T]]
) -> Callable[Concatenate[Resource, P], Iterator[R]]:
    """Make a method that iterates a stream, each item made a handle."""
    return _iterating(stream, _without_self(stream), _as(handle))


def awaiting_each(
    handle: Callable[[AsyncRunner, T], R], stream: Callable[P, Stream[T]]
) -> Callable[Concatenate[AsyncResource, P], AsyncIterator[R]]:
    """Make a method that iterates a stream with ``async for``, each item made a handle."""
    return _async_iterating(stream, _without_self(stream), _as(handle))


# Of handles: the flow's first parameter is the handle itself.


def asking(flow: Callable[Concatenate[Any, P], Flow[T]]) -> Callable[Concatenate[Resource, P], T]:
    """Make a method of a handle that returns the flow's result."""
    return _blocking(flow, flow, _result)


def async_asking(
    flow: Callable[Concatenate[Any, P], Flow[T]],
) -> Callable[Concatenate[AsyncResource, P], Coroutine[Any, Any, T]]:
    """As :func:`asking`, awaiting."""
    return _awaiting(flow, flow, _result)


def asking_as(
    handle: Callable[[Runner, T], R], flow: Callable[Concatenate[Any, P], Flow[T]]
) -> Callable[Concatenate[Resource, P], R]:
    """As :func:`asking`, with the result made another handle."""
    return _blocking(flow, flow, _as(handle))


def async_asking_as(
    handle: Callable[[AsyncRunner, T], R], flow: Callable[Concatenate[Any, P], Flow[T]]
) -> Callable[Concatenate[AsyncResource, P], Coroutine[Any, Any, R]]:
    """As :func:`asking_as`, awaiting."""
    return _awaiting(flow, flow, _as(handle))


def updating(flow: Callable[Concatenate[Any, P], Flow[None]]) -> Callable[Concatenate[H, P], H]:
    """Make a method of a handle that returns the handle, which the flow has brought up to date."""
    return _blocking(flow, flow, _updated)


def async_updating(
    flow: Callable[Concatenate[Any, P], Flow[None]],
) -> Callable[Concatenate[A, P], Coroutine[Any, Any, A]]:
    """As :func:`updating`, awaiting."""
    return _awaiting(flow, flow, _updated)


def following(stream: Callable[Concatenate[Any, P], Stream[T]]) -> Callable[Concatenate[Resource, P], Iterator[T]]:
    """Make a method of a handle that iterates a stream."""
    return _iterating(stream, stream, _result)


def async_following(
    stream: Callable[Concatenate[Any, P], Stream[T]],
) -> Callable[Concatenate[AsyncResource, P], AsyncIterator[T]]:
    """As :func:`following`, for ``async for``."""
    return _async_iterating(stream, stream, _result)


Start = Callable[..., Any]
"""From the method's arguments, ``self`` first, to the generator that the runner performs."""
Finish = Callable[[Any, Any], Any]
"""From ``self`` and the generator's result, or each item that it gives, to what the method gives."""


def _without_self(flow: Start) -> Start:
    def start(_self: Any, *args: Any, **kwargs: Any) -> Any:
        return flow(*args, **kwargs)

    return start


def _result(_self: Any, result: Any) -> Any:
    return result


def _updated(self: Any, _none: None) -> Any:
    return self


_updated.__name__ = "Self"  # as in the signatures of methods


def _as(handle: Callable[[Any, Any], Any]) -> Finish:
    @wraps(handle)
    def finish(self: Any, record: Any) -> Any:
        return handle(self.runner, record)

    return finish


def _blocking(flow: Start, start: Start, finish: Finish) -> Callable[..., Any]:
    @_documented_by(flow, takes_self=start is flow, returns=finish)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return finish(self, self.runner.run(start(self, *args, **kwargs)))

    return method


def _awaiting(flow: Start, start: Start, finish: Finish) -> Callable[..., Any]:
    @_documented_by(flow, takes_self=start is flow, returns=finish)
    async def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return finish(self, await self.runner.run(start(self, *args, **kwargs)))

    return method


def _iterating(stream: Start, start: Start, finish: Finish) -> Callable[..., Any]:
    @_documented_by(stream, takes_self=start is stream, returns=finish)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return (finish(self, item) for item in self.runner.iterate(start(self, *args, **kwargs)))

    return method


def _async_iterating(stream: Start, start: Start, finish: Finish) -> Callable[..., Any]:
    @_documented_by(stream, takes_self=start is stream, returns=finish)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return (finish(self, item) async for item in self.runner.iterate(start(self, *args, **kwargs)))

    return method


def _documented_by(
    flow: Callable[..., Any], *, takes_self: bool, returns: Finish
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a method the name, docstring and parameters of its flow, behind ``self``."""

    def decorate(method: Callable[..., Any]) -> Callable[..., Any]:
        wrapped = wraps(flow)(method)
        signature = inspect.signature(flow)
        this = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
        _, *others = signature.parameters.values() if takes_self else (this, *signature.parameters.values())
        annotation = _of(str(signature.return_annotation)) if returns is _result else returns.__name__
        wrapped.__dict__["__signature__"] = signature.replace(parameters=[this, *others], return_annotation=annotation)
        return wrapped

    return decorate


def _of(annotation: str) -> str:
    """``Flow[Dataset]`` -> ``Dataset``."""
    return annotation.partition("[")[2].removesuffix("]")
