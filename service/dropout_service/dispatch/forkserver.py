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
import json
import logging
import os
import selectors
import signal
import socket
import sys
import traceback
from typing import Any, NoReturn

from dropout_service.dispatch import attempt as attempts
from dropout_service.dispatch import process
from dropout_service.dispatch.config import LOG_FORMAT, MESSAGE_BYTES, DispatchConfig
from dropout_service.jobs.attempts import Attempt
from dropout_service.kernels.codegen import compile_cache

__all__ = ["main"]


class Forkserver:
    """Forks attempts, passes signals on, and reports exits.

    Parameters
    ----------
    channel
        The socket to the dispatcher.
    config
        What the attempts need to know.
    """

    def __init__(self, channel: socket.socket, config: DispatchConfig) -> None:
        self._channel = channel
        self._config = config
        self._children: dict[int, Attempt] = {}
        self._woken, self._wake = os.pipe()
        for end in (self._woken, self._wake):
            os.set_blocking(end, False)

    def serve(self) -> None:
        """Serve until the dispatcher closes its end."""
        signal.signal(signal.SIGCHLD, _nothing)  # a handler, or else the wake-up descriptor is not written
        signal.set_wakeup_fd(self._wake)
        self._tell({"ready": True})
        with selectors.DefaultSelector() as selector:
            selector.register(self._channel, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while True:
                ready = {key.fileobj for key, _ in selector.select()}
                if self._woken in ready:
                    os.read(self._woken, MESSAGE_BYTES)
                    self._reap()
                if self._channel in ready:
                    message = self._channel.recv(MESSAGE_BYTES)
                    if not message:
                        return
                    self._obey(json.loads(message))

    def _obey(self, message: dict[str, Any]) -> None:
        if "launch" in message:
            attempt = Attempt(*message["launch"])
            parent = os.getpid()
            try:
                pid = os.fork()
            except OSError as error:  # no room for a process, or no memory: the others must not end for that
                self._tell({"refused": [*attempt, error.strerror]})
                return
            if pid == 0:
                self._become(attempt, parent)
            self._children[pid] = attempt
        else:
            job_id, token, number = message["signal"]
            for pid, attempt in self._children.items():
                if attempt == (job_id, token):
                    os.kill(pid, number)  # not reaped yet, so the number is still this child's

    def _become(self, attempt: Attempt, parent: int) -> NoReturn:
        """Turn a fresh fork into the attempt. It must never return into the forkserver's loop."""
        code = 1
        try:
            process.die_with_parent(signal.SIGKILL, parent)
            signal.set_wakeup_fd(-1)
            # Until the attempt can write a checkpoint, a request to stop simply ends it.
            for number in (signal.SIGCHLD, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            self._channel.close()
            os.close(self._woken)
            os.close(self._wake)
            code = attempts.main(attempt, self._config)
        except BaseException:  # noqa: BLE001 - the boundary of a process: the code tells the dispatcher
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _reap(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            attempt = self._children.pop(pid)
            exit_code = os.waitstatus_to_exitcode(status)
            self._tell({"exit": [*attempt, exit_code]})

    def _tell(self, message: dict[str, Any]) -> None:
        self._channel.send(json.dumps(message).encode())


def _nothing(*_: object) -> None:
    """Do nothing: only the wake-up counts."""


def main(descriptor: int, parent_pid: int) -> None:
    """Run the forkserver on an inherited socket."""
    process.die_with_parent(signal.SIGKILL, parent_pid)
    # Signals to the whole group (Ctrl-C, a stopping terminal) are the dispatcher's to act on.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGQUIT, signal.SIG_IGN)
    with socket.socket(fileno=descriptor) as channel:
        config = DispatchConfig(**json.loads(channel.recv(MESSAGE_BYTES))["config"])
        logging.basicConfig(level=config.log_level.upper(), format=LOG_FORMAT)
        compile_cache.warm()
        gc.freeze()  # a collection in a child would copy every page that holds an object
        Forkserver(channel, config).serve()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
