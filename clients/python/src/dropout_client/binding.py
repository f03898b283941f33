"""How one flow becomes a method of the blocking and of the awaiting client.

::

    class Dropout(Resource):
        forward = blocking(forward)        # client.dropout.forward(x, rate=0.5) -> ForwardResult


    class AsyncDropout(AsyncResource):
        forward = awaiting(forward)        # await client.dropout.forward(x, rate=0.5) -> ForwardResult

The methods keep the flow's parameters, types and docstring.
"""

from __future__ import annotations

import inspect
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

    from dropout_client.flows import Flow, Stream
    from dropout_client.transport import AsyncRunner, Runner

__all__ = [
    "AsyncResource",
    "Resource",
    "awaiting",
    "awaiting_as",
    "awaiting_each",
    "blocking",
    "blocking_as",
    "blocking_each",
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


def blocking(flow: Callable[P, Flow[T]]) -> Callable[Concatenate[Resource, P], T]:
    """Make a method that performs a flow and returns its result."""

    @_documented_by(flow)
    def method(resource: Resource, *args: P.args, **kwargs: P.kwargs) -> T:
        return resource.runner.run(flow(*args, **kwargs))

    return method


def awaiting(flow: Callable[P, Flow[T]]) -> Callable[Concatenate[AsyncResource, P], Coroutine[Any, Any, T]]:
    """Make a coroutine method that performs a flow and returns its result."""

    @_documented_by(flow)
    async def method(resource: AsyncResource, *args: P.args, **kwargs: P.kwargs) -> T:
        return await resource.runner.run(flow(*args, **kwargs))

    return method


def blocking_as(handle: Callable[[Runner, T], R], flow: Callable[P, Flow[T]]) -> Callable[Concatenate[Resource, P], R]:
    """As :func:`blocking`, with the result made a handle that has methods of its own."""

    @_documented_by(flow)
    def method(resource: Resource, *args: P.args, **kwargs: P.kwargs) -> R:
        return handle(resource.runner, resource.runner.run(flow(*args, **kwargs)))

    return method


def awaiting_as(
    handle: Callable[[AsyncRunner, T], R], flow: Callable[P, Flow[T]]
) -> Callable[Concatenate[AsyncResource, P], Coroutine[Any, Any, R]]:
    """As :func:`awaiting`, with the result made a handle that has methods of its own."""

    @_documented_by(flow)
    async def method(resource: AsyncResource, *args: P.args, **kwargs: P.kwargs) -> R:
        return handle(resource.runner, await resource.runner.run(flow(*args, **kwargs)))

    return method


def blocking_each(
    handle: Callable[[Runner, T], R], stream: Callable[P, Stream[T]]
) -> Callable[Concatenate[Resource, P], Iterator[R]]:
    """Make a method that iterates a stream, each item made a handle."""

    @_documented_by(stream)
    def method(resource: Resource, *args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
        runner = resource.runner
        return (handle(runner, item) for item in runner.iterate(stream(*args, **kwargs)))

    return method


def awaiting_each(
    handle: Callable[[AsyncRunner, T], R], stream: Callable[P, Stream[T]]
) -> Callable[Concatenate[AsyncResource, P], AsyncIterator[R]]:
    """Make a method that iterates a stream with ``async for``, each item made a handle."""

    @_documented_by(stream)
    def method(resource: AsyncResource, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[R]:
        runner = resource.runner
        return (handle(runner, item) async for item in runner.iterate(stream(*args, **kwargs)))

    return method


def _documented_by(flow: Callable[..., Any]) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Give a method the name, docstring and parameters of its flow, behind ``self``."""

    def decorate(method: Callable[P, T]) -> Callable[P, T]:
        wrapped = wraps(flow)(method)
        signature = inspect.signature(flow)
        this = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
        result = _result(str(signature.return_annotation))
        wrapped.__dict__["__signature__"] = signature.replace(
            parameters=[this, *signature.parameters.values()], return_annotation=result
        )
        return wrapped

    return decorate


def _result(annotation: str) -> str:
    """``Flow[Dataset]`` -> ``Dataset``."""
    return annotation.partition("[")[2].removesuffix("]")
