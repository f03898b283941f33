"""The forkserver: a process that has everything imported and compiled, and forks one child for each attempt.

A child starts in milliseconds, and its memory is shared with the forkserver's until it writes. The forkserver runs no
job itself and has one thread, so there is nothing in it that a fork could break. It talks to the dispatcher over a
socket that keeps the bounds of messages; each is a JSON object:

- in: ``{"config": ...}`` first, then ``{"launch": [job, token]}`` and ``{"signal": [job, token, number]}``;
- out: ``{"ready": true}`` once it can fork, then ``{"exit": [job, token, code]}``, the code negative for a signal, or
  ``{"refused": [job, token, why]}`` when the operating system let it have no process.

When the dispatcher dies, however it does, the forkserver is killed, and with it every attempt.
"""

from __future__ import annotations

import gc
import importlib
import json
import logging
import os
import signal
import socket
import sys
from functools import partial
from typing import Any

from dropout_service.database.engine import open_database
from dropout_service.dispatch import attempt as attempts
from dropout_service.dispatch import process
from dropout_service.dispatch.config import LOG_FORMAT, MESSAGE_BYTES, DispatchConfig
from dropout_service.forking import ForkLoop, ignore_signals_to_the_group
from dropout_service.jobs.attempts import Attempt
from dropout_service.kernels.codegen import compile_cache

__all__ = ["main"]


class Forkserver(ForkLoop):
    """Forks attempts, passes signals on, and reports exits.

    Parameters
    ----------
    channel
        The socket to the dispatcher.
    config
        What the attempts need to know.
    """

    def __init__(self, channel: socket.socket, config: DispatchConfig) -> None:
        super().__init__(channel)
        self._config = config
        self._children: dict[int, Attempt] = {}

    def serve(self) -> None:
        """Serve until the dispatcher closes its end."""
        self._tell({"ready": True})
        super().serve()

    def receive(self) -> bool:
        """Read what the dispatcher asks for, and do it."""
        message = self.channel.recv(MESSAGE_BYTES)
        if message:
            self._obey(json.loads(message))
        return bool(message)

    def ended(self, pid: int, code: int) -> None:
        """Tell the dispatcher."""
        self._tell({"exit": [*self._children.pop(pid), code]})

    def _obey(self, message: dict[str, Any]) -> None:
        if "launch" in message:
            attempt = Attempt(*message["launch"])
            try:
                pid = self.fork(partial(_run, attempt, self._config, os.getpid()))
            except OSError as error:  # no room for a process, or no memory: the others must not end for that
                self._tell({"refused": [*attempt, error.strerror]})
                return
            self._children[pid] = attempt
        else:
            job_id, token, number = message["signal"]
            for pid, attempt in self._children.items():
                if attempt == (job_id, token):
                    os.kill(pid, number)  # not reaped yet, so the number is still this child's

    def _tell(self, message: dict[str, Any]) -> None:
        self.channel.send(json.dumps(message).encode())


def _run(attempt: Attempt, config: DispatchConfig, parent: int) -> int:
    """Run an attempt in its own process; return the exit code."""
    process.die_with_parent(signal.SIGKILL, parent)
    # Until the attempt can write a checkpoint, a request to stop simply ends it.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    return attempts.main(attempt, config)


def main(descriptor: int, parent_pid: int) -> None:
    """Run the forkserver on an inherited socket."""
    process.die_with_parent(signal.SIGKILL, parent_pid)
    ignore_signals_to_the_group()
    with socket.socket(fileno=descriptor) as channel:
        config = DispatchConfig(**json.loads(channel.recv(MESSAGE_BYTES))["config"])
        logging.basicConfig(level=config.log_level.upper(), format=LOG_FORMAT)
        compile_cache.warm()
        # What an attempt would import by itself takes it a quarter of a second: PyArrow, and the driver of the database
        importlib.import_module("dropout_service.datasets.reading")
        open_database(config.database_url).dispose()
        gc.freeze()  # a collection in a child would copy every page that holds an object
        Forkserver(channel, config).serve()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
