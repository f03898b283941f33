"""The command line: its options, its errors and its exit codes."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from dropout_client import (
    APIConnectionError,
    APIStatusError,
    Client,
    DropoutError,
    InternalServerError,
    JobError,
    WaitTimeoutError,
)
from dropout_client.cli import data, jobs
from dropout_client.cli.inputs import InputError
from dropout_client.version import __version__

__all__ = ["app", "run"]

_EXIT_CODES: tuple[tuple[type[Exception], int], ...] = (
    (JobError, 1),
    (InputError, 2),
    (InternalServerError, 4),
    (APIStatusError, 3),
    (APIConnectionError, 4),
    (WaitTimeoutError, 4),
    (DropoutError, 4),
)

_HELP = """Talk to a dropout service: upload data, train networks, predict.

Exit codes: 0 done; 1 the job failed or was cancelled; 2 wrong use, or an unreadable file; 3 the service refused;
4 the service is not reachable or at fault; 130 interrupted.
"""

app = typer.Typer(help=_HELP, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
jobs.add_commands(app)
data.add_commands(app)


def _print_version(asked: bool) -> None:  # noqa: FBT001  # typer's form
    if asked:
        typer.echo(f"dropout-client {__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    *,
    url: Annotated[
        str | None,
        typer.Option(envvar="DROPOUT_URL", help="Address of the service.", show_default="http://127.0.0.1:8000"),
    ] = None,
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Open the client that the command uses."""
    try:
        context.obj = context.with_resource(Client(url))
    except ValueError as error:
        raise InputError(str(error)) from error


def run() -> int:
    """Run the command line and give its exit code; an error is one line, not a traceback."""
    try:
        app()
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    except (DropoutError, InputError) as error:
        sys.stderr.write(f"dropout: {error}\n")
        return next(code for kind, code in _EXIT_CODES if isinstance(error, kind))
    return 0
