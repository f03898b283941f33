"""The two clients: :class:`Client` blocks, :class:`AsyncClient` awaits; all else is the same."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, TypedDict

from dropout_client.datasets import AsyncDatasets, Datasets
from dropout_client.dropout import AsyncDropout, Dropout
from dropout_client.jobs import AsyncJobs, Jobs
from dropout_client.models import AsyncModels, Models
from dropout_client.retries import Options

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self, Unpack

    import httpx

    from dropout_client.transport import AsyncRunner, Runner

__all__ = ["AsyncClient", "Client"]

DEFAULT_URL = "http://127.0.0.1:8000"


class Patience(TypedDict, total=False):
    """What ``with_options`` can change."""

    timeout: float | None
    total_timeout: float | None
    max_retries: int


class Client:
    """A client of the dropout service.

    Parameters
    ----------
    base_url
        Address of the service; by default the environment variable ``DROPOUT_URL``, else ``http://127.0.0.1:8000``.
    timeout
        Seconds of silence on a connection after which an attempt is given up. ``None``: 60, and 600 for predictions,
        which the service may compute that long before it answers.
    total_timeout
        Seconds after which a request is given up altogether, its retries and pauses included. ``None``: no bound.
    max_retries
        How often a request is sent again after a connection error, a time-out, or an answer that says a later
        attempt may succeed.
    headers
        Headers of every request, such as credentials for a proxy.
    transport
        In place of the network.

    Attributes
    ----------
    dropout, datasets, jobs, models
        The resources.

    Examples
    --------
    >>> with Client() as client:
    ...     dropped = client.dropout.forward([[1, 2], [3, 4]], rate=0.5, seed=42)
    """

    def __init__(
        self,
        base_url: str | None = None,
        *,
        timeout: float | None = None,
        total_timeout: float | None = None,
        max_retries: int = 4,
        headers: dict[str, str] | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        # httpx takes longer to load than all of this package; who only imports does not wait for it.
        import httpx

        from dropout_client.transport import Runner

        http = httpx.Client(base_url=_address(base_url), headers=headers, transport=transport)
        self._bind(Runner(http, Options(timeout, total_timeout, max_retries)))

    def _bind(self, runner: Runner) -> None:
        self._runner = runner
        self.dropout = Dropout(runner)
        self.datasets = Datasets(runner)
        self.jobs = Jobs(runner)
        self.models = Models(runner)

    def with_options(self, **options: Unpack[Patience]) -> Self:
        """Give a client on the same connections with another ``timeout``, ``total_timeout`` or ``max_retries``."""
        other = self.__new__(type(self))
        other._bind(type(self._runner)(self._runner.http, replace(self._runner.options, **options)))  # noqa: SLF001  # of this class
        return other

    def close(self) -> None:
        """Close the connections."""
        self._runner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class AsyncClient:
    """As :class:`Client`, for asyncio and trio.

    Examples
    --------
    >>> async with AsyncClient() as client:
    ...     dropped = await client.dropout.forward([[1, 2], [3, 4]], rate=0.5, seed=42)
    """

    def __init__(
        self,
        base_url: str | None = None,
        *,
        timeout: float | None = None,
        total_timeout: float | None = None,
        max_retries: int = 4,
        headers: dict[str, str] | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        import httpx

        from dropout_client.transport import AsyncRunner

        http = httpx.AsyncClient(base_url=_address(base_url), headers=headers, transport=transport)
        self._bind(AsyncRunner(http, Options(timeout, total_timeout, max_retries)))

    def _bind(self, runner: AsyncRunner) -> None:
        self._runner = runner
        self.dropout = AsyncDropout(runner)
        self.datasets = AsyncDatasets(runner)
        self.jobs = AsyncJobs(runner)
        self.models = AsyncModels(runner)

    def with_options(self, **options: Unpack[Patience]) -> Self:
        """As :meth:`Client.with_options`."""
        other = self.__new__(type(self))
        other._bind(type(self._runner)(self._runner.http, replace(self._runner.options, **options)))  # noqa: SLF001  # of this class
        return other

    async def close(self) -> None:
        """Close the connections."""
        await self._runner.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()


def _address(base_url: str | None) -> str:
    import httpx

    address = base_url or os.environ.get("DROPOUT_URL") or DEFAULT_URL
    if not address.startswith(("http://", "https://")):
        raise ValueError(f"the address of the service must begin with http:// or https://, which {address!r} does not")
    try:
        httpx.URL(address)
    except httpx.InvalidURL as error:
        raise ValueError(f"{address!r} is not an address of a service: {error}") from error
    return address
