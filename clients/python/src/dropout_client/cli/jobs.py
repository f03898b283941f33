"""Commands about jobs: submit, jobs, job, events, pause, resume, cancel."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  # typer reads the annotations
from typing import Annotated

import typer

from dropout_client import Client, Job, JobError
from dropout_client.cli.inputs import blamed_on, read_spec
from dropout_client.cli.output import AsJson, Limit, print_job, print_json, print_table, time

__all__ = ["add_commands"]

JobId = Annotated[str, typer.Argument(metavar="JOB", help="Id of the job.")]
_INTERRUPTED = 130


def add_commands(app: typer.Typer) -> None:
    """Add this module's commands."""
    for command in (submit, jobs, job, events, pause, resume, cancel):
        app.command()(command)


def submit(
    context: typer.Context,
    spec: Annotated[
        Path, typer.Argument(help="Training specification, YAML or JSON; `data: {file: ...}` is uploaded.")
    ],
    *,
    priority: Annotated[int | None, typer.Option(help="Higher ones start earlier, -100 to 100.")] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Wait for the end, with a live bar.")] = False,
    json: AsJson = False,
) -> None:
    """Submit a training."""
    client: Client = context.obj
    document = read_spec(spec)
    with blamed_on(spec):
        submitted = client.jobs.submit(document if priority is None else {**document, "priority": priority})
    if watch:
        _watch(submitted, quiet=json)
    if json:
        print_json(submitted.record)
    elif watch:
        print_job(submitted.record)
    else:
        typer.echo(submitted.id)


def _watch(job: Job, *, quiet: bool) -> None:
    try:
        job.wait(progress=not quiet)
    except KeyboardInterrupt:
        typer.echo(f"{job.id} runs on; `dropout cancel {job.id}` ends it", err=True)
        raise typer.Exit(_INTERRUPTED) from None
    except JobError:
        if quiet:
            print_json(job.record)
        raise


def jobs(
    context: typer.Context,
    *,
    status: Annotated[str | None, typer.Option(help="Only jobs in this state.")] = None,
    limit: Limit = 50,
    json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    client: Client = context.obj
    records = [job.record for job in client.jobs.list(status=status, limit=limit)]
    if json:
        print_json(records)
        return
    print_table(
        ("id", "name", "status", "progress", "created", "model"),
        ((one.id, one.name, one.status, f"{one.progress:.0%}", time(one.created_at), one.model) for one in records),
    )


def job(context: typer.Context, job_id: JobId, *, json: AsJson = False) -> None:
    """Show how a job stands."""
    client: Client = context.obj
    record = client.jobs.get(job_id).record
    if json:
        print_json(record)
    else:
        print_job(record)


def events(
    context: typer.Context,
    job_id: JobId,
    *,
    after: Annotated[int, typer.Option(min=0, help="Skip the events up to this sequence number.")] = 0,
    json: AsJson = False,
) -> None:
    """Print what happens to a job, live, until it has ended; with --json, one object a line."""
    client: Client = context.obj
    for event in client.jobs.get(job_id).events(after=after):
        if json:
            print_json(event)
        else:
            details = "  ".join(f"{name}={value}" for name, value in event.data.items() if value is not None)
            typer.echo(f"{time(event.at)}  {event.type:<10}  {details}")


def pause(context: typer.Context, job_id: JobId, *, json: AsJson = False) -> None:
    """Ask a job to write a checkpoint and stop until it is resumed."""
    client: Client = context.obj
    _tell(client.jobs.get(job_id).pause(), json=json)


def resume(context: typer.Context, job_id: JobId, *, json: AsJson = False) -> None:
    """Let a paused job go on."""
    client: Client = context.obj
    _tell(client.jobs.get(job_id).resume(), json=json)


def cancel(context: typer.Context, job_id: JobId, *, json: AsJson = False) -> None:
    """Ask a job to end."""
    client: Client = context.obj
    _tell(client.jobs.get(job_id).cancel(), json=json)


def _tell(job: Job, *, json: bool) -> None:
    if json:
        print_json(job.record)
    else:
        typer.echo(f"{job.id} is {job.status}")
