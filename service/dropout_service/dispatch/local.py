"""``LocalEngine``: one process for each attempt, forked from a warm forkserver on this machine."""

# ruff: noqa: D102 - documented where the protocol is, in dispatch.engine

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from dropout_service.dispatch.config import MESSAGE_BYTES
from dropout_service.dispatch.engine import Exit
from dropout_service.dispatch.exits import explain, explain_refusal
from dropout_service.dispatch.process import SINGLE_THREADED, oom_kills
from dropout_service.jobs.attempts import Attempt

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dropout_service.dispatch.config import DispatchConfig

__all__ = ["LocalEngine"]

_REFUSED_S = 5.0
"""How long nothing is launched after the operating system has refused a process."""


class LocalEngine:
    """Runs attempts on this machine; see :class:`~dropout_service.dispatch.engine.Engine`.

    Make it, and call it, in the thread that lives as long as the attempts shall: they die with it.

    Parameters
    ----------
    config
        What the attempts need to know, and how many may run at once.
    inherited
        File descriptors that every process of the attempts shall hold.
    """

    def __init__(self, config: DispatchConfig, *, inherited: Sequence[int] = ()) -> None:
        self._config = config
        self._inherited = inherited
        self._running: set[Attempt] = set()
        self._deadlines: dict[Attempt, float] = {}
        self._refused_until = 0.0
        self._oom_kills = oom_kills()
        self._start_forkserver()

    def free(self) -> int:
        # Not before the forkserver is warm: a lease would run out while kernels compile.
        if not self._ready or time.monotonic() < self._refused_until:
            return 0
        return self._config.workers - len(self._running)

    def launch(self, attempt: Attempt) -> None:
        self._running.add(attempt)
        self._send({"launch": [*attempt]})

    def kill(self, attempt: Attempt, *, grace_s: float) -> None:
        deadline = time.monotonic() + grace_s
        if attempt not in self._deadlines:
            self._send({"signal": [*attempt, signal.SIGTERM]})
        self._deadlines[attempt] = min(deadline, self._deadlines.get(attempt, deadline))

    def running(self) -> Iterable[Attempt]:
        return frozenset(self._running)

    def exits(self, timeout_s: float) -> list[Exit]:
        self._enforce_deadlines()
        found: list[Exit] = []
        while select.select([self._channel], [], [], 0 if found else timeout_s)[0]:
            try:
                message = self._channel.recv(MESSAGE_BYTES)
            except ConnectionResetError:
                message = b""
            if not message:
                return found + self._replace_forkserver()
            told = json.loads(message)
            if "exit" in told:
                job_id, token, code = told["exit"]
                found.append(self._exit(Attempt(job_id, token), code))
            elif "refused" in told:
                job_id, token, why = told["refused"]
                found.append(self._refusal(Attempt(job_id, token), why))
            else:
                self._ready = True
                timeout_s = 0
        return found

    def close(self) -> None:
        self._stop_forkserver()

    def _replace_forkserver(self) -> list[Exit]:
        code = self._forkserver.wait()
        if not self._ready:
            raise RuntimeError(f"the forkserver of training processes ended with code {code} before it was ready")
        lost = [self._exit(attempt, None) for attempt in sorted(self._running)]
        self._channel.close()
        self._start_forkserver()
        return lost

    def _start_forkserver(self) -> None:
        self._ready = False
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel = ours
        # PyArrow's own allocator begins with a GiB, which would count as memory of the attempt
        environment = {**os.environ, **SINGLE_THREADED, "ARROW_DEFAULT_MEMORY_POOL": "system"}
        with theirs:
            command = [sys.executable, "-m", "dropout_service.dispatch.forkserver"]
            self._forkserver = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [*command, str(theirs.fileno()), str(os.getpid())],
                pass_fds=[theirs.fileno(), *self._inherited],
                env=environment,
                stdin=subprocess.DEVNULL,
            )
        self._send({"config": asdict(self._config)})

    def _stop_forkserver(self) -> None:
        """Kill the forkserver, and by that every attempt that is left."""
        self._channel.close()
        self._forkserver.kill()
        self._forkserver.wait()

    def _send(self, message: object) -> None:
        # A forkserver that is gone shows as the end of its messages, where its attempts are given up.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._channel.send(json.dumps(message).encode())

    def _enforce_deadlines(self) -> None:
        now = time.monotonic()
        for attempt, deadline in self._deadlines.items():
            if now >= deadline:
                self._send({"signal": [*attempt, signal.SIGKILL]})
                self._deadlines[attempt] = now + self._config.cancel_grace_s  # until it is gone

    def _exit(self, attempt: Attempt, code: int | None) -> Exit:
        self._forget(attempt)
        kills = oom_kills()
        out_of_memory, self._oom_kills = kills > self._oom_kills, kills
        return Exit(attempt, *explain(code, out_of_memory=out_of_memory))

    def _refusal(self, attempt: Attempt, why: str) -> Exit:
        self._forget(attempt)
        self._refused_until = time.monotonic() + _REFUSED_S
        return Exit(attempt, *explain_refusal(why), began=False)

    def _forget(self, attempt: Attempt) -> None:
        self._running.discard(attempt)
        self._deadlines.pop(attempt, None)
