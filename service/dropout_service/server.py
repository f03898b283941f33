"""``Server``: uvicorn with the dispatcher beside it, and an end in good order."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import uvicorn

from dropout_service.connections import Connection, ConnectionLimits, look_after
from dropout_service.dispatch.launch import DispatcherProcess

if TYPE_CHECKING:
    from types import FrameType

    from fastapi import FastAPI

    from dropout_service.dispatch.config import DispatchConfig
    from dropout_service.settings import Settings

__all__ = ["Server"]

_LOOK_S = 0.1
_TICKS_A_LOOK = 5

logger = logging.getLogger(__name__)


class Server(uvicorn.Server):
    """Serves until a signal, then lets go of its work step by step.

    After the first SIGTERM or SIGINT ``/readyz`` answers 503, and for ``drain_s`` everything else goes on, so that
    whoever balances the load notices before a connection is refused. Then event streams and long-polls end, open
    requests are finished, and running jobs write their checkpoints and go back to the queue. A second signal means
    that there is no time for that.

    Parameters
    ----------
    application
        What to serve.
    settings
        Address, drain and time-outs.
    dispatch
        What the dispatcher needs to know; ``None`` to run none.
    """

    def __init__(self, application: FastAPI, settings: Settings, dispatch: DispatchConfig | None) -> None:
        limits = ConnectionLimits(
            connections=settings.max_connections,
            headers_s=settings.headers_timeout_s,
            body_rate=settings.min_body_rate,
            answer_s=settings.send_timeout_s,
        )
        super().__init__(
            uvicorn.Config(
                application,
                host=settings.host,
                port=settings.port,
                loop="uvloop",
                http=cast("Any", partial(Connection, limits=limits)),
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=settings.log_level == "debug",
                server_header=False,
                timeout_keep_alive=cast("int", settings.idle_timeout_s),
                timeout_graceful_shutdown=settings.shutdown_timeout_s,
            )
        )
        self._application = application
        self._drain_s = settings.drain_s
        self._send_timeout_s = settings.send_timeout_s
        self._dispatcher = None if dispatch is None else DispatcherProcess(dispatch)
        self._signals = 0
        self._leave_at: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's
        """Count the signal; what it asks for is done by the event loop, which a signal may interrupt anywhere."""
        self._signals += 1

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, with the database migrated, and start the dispatcher."""
        await super().startup(sockets)
        for server in self.servers:
            for listening in server.sockets:
                _cut_off_who_does_not_read(listening.fileno(), self._send_timeout_s)
        if self._dispatcher is not None and not self.should_exit:
            self._dispatcher.start()

    async def on_tick(self, counter: int) -> bool:
        """Tell, ten times a second, whether to stop serving; look after the connections."""
        if self._signals and self._leave_at is None:
            self._leave_at = time.monotonic() + self._drain_s
            self._application.state.readiness.failed("serving", "the service is stopping")
            logger.info("stopping in %g s: /readyz answers 503", self._drain_s)
        if self._signals > 1 or (self._leave_at is not None and time.monotonic() >= self._leave_at):
            self.should_exit = True
        if counter % _TICKS_A_LOOK == 0:
            look_after(self.server_state.connections, asyncio.get_running_loop().time())
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain connections and the dispatcher at the same time."""
        # A connection that waits would not drain.
        self._application.state.stop_waiting()
        hurrying = asyncio.create_task(self._hurry())
        stopping = asyncio.create_task(asyncio.to_thread(self._stop_dispatcher))
        await super().shutdown(sockets)
        if self.force_exit:  # then uvicorn leaves this out
            await self.lifespan.shutdown()
        await stopping
        hurrying.cancel()
        with suppress(asyncio.CancelledError):
            await hurrying

    async def _hurry(self) -> None:
        while self._signals < 2:  # noqa: ASYNC110, PLR2004 - a handler of signals cannot set an event of the loop
            await asyncio.sleep(_LOOK_S)
        logger.warning("stopping at once: open requests are cut, and jobs go on from their last checkpoints")
        self.force_exit = True
        if self._dispatcher is not None:
            self._dispatcher.hurry()

    def _stop_dispatcher(self) -> None:
        if self._dispatcher is not None:
            self._dispatcher.stop()


def _cut_off_who_does_not_read(listening: int, timeout_s: float) -> None:
    """Let the kernel end every connection that is accepted here once its reader's window was shut for so long.

    The application cannot: it waits for room to write, and closing a connection waits for that, too.
    """
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        # Of a duplicate, because the object that the event loop hands out has no such method.
        with socket.socket(fileno=os.dup(listening)) as accepting:
            accepting.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(timeout_s * 1000))
