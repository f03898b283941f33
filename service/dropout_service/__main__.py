"""The command line: ``dropout-service serve | dispatch | migrate | openapi | health``.

Imports that take time are made by the command that needs them: `health` runs every few seconds in a container.
"""

# ruff: noqa: PLC0415 - a command loads what it needs, so that none waits for what others need

from __future__ import annotations

import http.client
import json
import logging
import os
import signal
import sys
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from dropout_service.database.migrate import Migration
    from dropout_service.dispatch.config import DispatchConfig
    from dropout_service.settings import Settings

__all__ = ["app"]

app = typer.Typer(
    name="dropout-service",
    help="Dropout over HTTP and durable training jobs. Every option is also a setting: docs/settings.md.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Host = Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")]
Port = Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.", show_default="8000")]
DataDir = Annotated[
    Path | None, typer.Option(help="Folder of the database and the blobs.", show_default="./dropout-data")
]


@app.command()
def serve(host: Host = None, port: Port = None, data_dir: DataDir = None) -> None:
    """Serve HTTP until SIGTERM or SIGINT, with a dispatcher beside it that runs the training jobs."""
    settings = _settings(host=host, port=port, data_dir=data_dir)
    _make_data_dir(settings.data_dir)
    _configure_logging(settings.log_level)
    _check_blobs(settings)
    _migrate(settings)
    # Predictions compute in the threads of requests; threads of BLAS beside them would fight for the same cores.
    # NumPy reads it when it is imported, below.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

    from dropout_service.app import create_app
    from dropout_service.server import Server

    # Before and after uvicorn handles them: a signal must not end the process half-way.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _ignore)
    server = Server(create_app(settings), settings, _dispatch_config(settings) if settings.dispatcher else None)
    server.run()
    if not server.started:
        raise typer.Exit(3)


@app.command()
def dispatch(data_dir: DataDir = None) -> None:
    """Run training jobs until SIGTERM or SIGINT, for a `serve` that runs without a dispatcher."""
    from dropout_service.dispatch.launch import become_dispatcher

    settings = _settings(data_dir=data_dir)
    _configure_logging(settings.log_level)
    _make_data_dir(settings.data_dir)
    _check_blobs(settings)
    _migrate(settings)
    become_dispatcher(_dispatch_config(settings))


@app.command()
def migrate(
    data_dir: DataDir = None,
    to: Annotated[
        str, typer.Option(help="Revision to reach, up or down; `base` removes every table, with all that is in it.")
    ] = "head",
) -> None:
    """Bring the database to a revision of its schema; `serve` and `dispatch` bring it to the latest by themselves."""
    settings = _settings(data_dir=data_dir)
    _make_data_dir(settings.data_dir)
    done = _migrate(settings, to)
    typer.echo(f"{done.before} -> {done.after}" if done.before != done.after else f"already at {done.after}")


@app.command()
def openapi() -> None:
    """Print the OpenAPI document."""
    from dropout_service.app import create_app

    json.dump(create_app(_settings()).openapi(), sys.stdout, indent=2)
    sys.stdout.write("\n")


@app.command()
def health(host: Host = None, port: Port = None) -> None:
    """Ask a running service whether it is alive; exit code 0 if so. For the health check of a container."""
    settings = _settings(host=host, port=port)
    address = "127.0.0.1" if settings.host in {"0.0.0.0", "::", ""} else settings.host  # noqa: S104 - compared only
    connection = http.client.HTTPConnection(address, settings.port, timeout=4)
    try:
        connection.request("GET", "/livez")
        alive = connection.getresponse().status == http.HTTPStatus.OK
    except OSError:
        alive = False
    if not alive:
        raise typer.Exit(1)


def _ignore(_number: int, _frame: object) -> None:
    """Do nothing. Unlike SIG_IGN this is not inherited by child processes."""


def _migrate(settings: Settings, to: str = "head") -> Migration:
    """Migrate the database, or end with a sentence for the operator when it cannot be opened or understood."""
    from dropout_service.database.engine import open_database, reach
    from dropout_service.database.migrate import check_revision, migrate
    from dropout_service.database.outages import OUTAGES, explain_outage
    from dropout_service.errors import InvalidInputError, ServiceError

    try:
        check_revision(to)
        engine = open_database(settings.database_url)
        reach(engine)
        engine.dispose()
        return migrate(settings.database_url, to)
    except InvalidInputError as error:
        _end("--to", error)
    except OUTAGES as error:
        _end("DROPOUT_SERVICE_DATABASE_URL", explain_outage(error))
    except (ServiceError, OSError, ValueError) as error:  # its folder cannot be made; a URL that SQLite does not take
        _end("DROPOUT_SERVICE_DATABASE_URL", error)


def _check_blobs(settings: Settings) -> None:
    """Open the blob store as those who use it will, or end with a sentence for the operator when that fails."""
    from dropout_service.blobs import BlobStore
    from dropout_service.errors import ServiceError

    try:
        with BlobStore(settings.blob_url, scratch_dir=settings.data_dir).scratch():
            pass
    except ServiceError as error:
        _end("DROPOUT_SERVICE_BLOB_URL", error)


def _end(wrong: str, error: Exception) -> NoReturn:
    typer.echo(f"{wrong}: {error}", err=True)
    raise typer.Exit(1)


def _dispatch_config(settings: Settings) -> DispatchConfig:
    from dropout_service.dispatch.config import DispatchConfig

    return DispatchConfig(
        database_url=settings.database_url,
        blob_url=settings.blob_url,
        workers=settings.workers,
        heartbeat_s=settings.heartbeat_s,
        lease_s=settings.lease_s,
        checkpoint_s=settings.checkpoint_s,
        shutdown_grace_s=float(settings.shutdown_timeout_s),
        memory_limit_bytes=settings.job_memory_bytes,
        array_bytes=settings.job_array_bytes,
        kernel_cache_dir=settings.kernel_cache_dir,
        presence_dir=str(settings.data_dir / "dispatchers"),
        scratch_dir=str(settings.data_dir),
        log_level=settings.log_level,
    )


def _make_data_dir(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        typer.echo(f"DROPOUT_SERVICE_DATA_DIR: {folder} is no folder that can be written: {error.strerror}", err=True)
        raise typer.Exit(2) from None


def _settings(**given: Any) -> Settings:
    """Read the settings; what the command line gave goes before the environment."""
    from pydantic import ValidationError

    from dropout_service.settings import Settings

    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        for fault in error.errors(include_url=False, include_input=False):
            if fault["type"] == "default_factory_not_called":  # follows from another fault
                continue
            name = "_".join(str(part) for part in fault["loc"]).upper()
            typer.echo(f"DROPOUT_SERVICE_{name}: {fault['msg'].removeprefix('Value error, ')}", err=True)
        raise typer.Exit(2) from None


def _configure_logging(level: str) -> None:
    logging.basicConfig(
        level=level.upper(), stream=sys.stderr, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s"
    )
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells of every start, migrations or not


if __name__ == "__main__":
    app()
