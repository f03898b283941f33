"""Start the dispatcher: in place of this process, or as a child of the API process that is kept running."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from dropout_service.dispatch.config import DispatchConfig

__all__ = ["CONFIG_VARIABLE", "DispatcherProcess", "become_dispatcher"]

CONFIG_VARIABLE = "_DROPOUT_SERVICE_DISPATCH"
"""Carries the configuration to the new process: other users cannot read it there, as they could an argument."""

_COMMAND = (sys.executable, "-m", "dropout_service.dispatch")
_RESTART_S = 1.0
_STOP_MARGIN_S = 5.0

logger = logging.getLogger(__name__)


def become_dispatcher(config: DispatchConfig) -> NoReturn:
    """Replace this process by a dispatcher; it keeps the process id, so signals reach it as they should."""
    os.execve(_COMMAND[0], _COMMAND, _environment(config))  # noqa: S606 - our own interpreter and module


class DispatcherProcess:
    """A dispatcher as a child process: restarted when it dies, ended when this process does, even by ``kill -9``.

    Parameters
    ----------
    config
        What the dispatcher needs to know.
    """

    def __init__(self, config: DispatchConfig) -> None:
        self._config = config
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        # The thread that starts a child must live as long as this process: the child ends with that thread.
        self._thread = threading.Thread(target=self._keep_running, name="dispatcher-process", daemon=True)

    def start(self) -> None:
        """Start the dispatcher, and keep it running."""
        self._thread.start()

    def hurry(self) -> None:
        """While it is being stopped: leave the attempts no more time for a checkpoint."""
        with self._lock:
            child = self._child
        if child is not None:
            child.send_signal(signal.SIGQUIT)

    def stop(self) -> None:
        """End the dispatcher in good order: attempts write their checkpoints and go back to the queue."""
        self._stopping.set()
        with self._lock:
            child = self._child
        if child is not None:
            child.terminate()
            try:
                child.wait(self._config.shutdown_grace_s + _STOP_MARGIN_S)
            except subprocess.TimeoutExpired:
                child.kill()
        self._thread.join()

    def _keep_running(self) -> None:
        while True:
            with self._lock:
                if self._stopping.is_set():
                    return
                child = self._child = self._start_child()
            if child is not None:
                code = child.wait()
                if self._stopping.is_set():
                    return
                logger.error("the dispatcher ended with code %d; starting another", code)
            self._stopping.wait(_RESTART_S)

    def _start_child(self) -> subprocess.Popen[bytes] | None:
        command = [*_COMMAND, str(os.getpid())]
        try:
            return subprocess.Popen(command, env=_environment(self._config), stdin=subprocess.DEVNULL)  # noqa: S603 - our own interpreter and module
        except OSError as error:  # no room for a process now; there may be in a moment
            logger.error("the dispatcher does not start (%s); trying again", error.strerror)  # noqa: TRY400 - it says all
            return None


def _environment(config: DispatchConfig) -> dict[str, str]:
    environment = {**os.environ, CONFIG_VARIABLE: config.to_json()}
    if config.kernel_cache_dir is not None:
        environment["DROPOUT_SERVICE_KERNEL_CACHE_DIR"] = config.kernel_cache_dir
    return environment
