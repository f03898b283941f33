"""What the command line prints: tables for people, JSON for machines."""

from __future__ import annotations

import dataclasses
import json
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dropout_client.progress import standing

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dropout_client.records import JobRecord

__all__ = ["AsJson", "Limit", "print_job", "print_json", "print_table", "size", "time"]

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
Limit = Annotated[int, typer.Option(min=1, help="The most to list.")]

_KILO = 1000
_UNCUT = 10_000


def print_json(value: Any) -> None:
    """Print records, arrays and what consists of them as JSON."""
    typer.echo(json.dumps(value, default=_plain, ensure_ascii=False))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table, its cells never cut: an id that lacks its end is of no use."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    Console(width=_UNCUT).print(table)


def print_job(job: JobRecord) -> None:
    """Print how a job stands."""
    lines: dict[str, object] = {
        "id": job.id,
        "name": job.name,
        "status": standing(job),
        "progress": f"{job.progress:.0%}, epoch {job.epoch or 0} of {job.epochs}" if job.epochs else None,
        "priority": job.priority or None,
        "attempts": _attempts(job),
        "estimated finish": None if job.finished or job.estimated_finish_at is None else time(job.estimated_finish_at),
        "model": job.model,
        "failure": None if job.failure is None else f"{job.failure.code}: {job.failure.message}",
        "hint": None if job.failure is None else job.failure.hint,
    }
    if job.metrics is not None:
        for part, values in (("training", job.metrics.train), ("validation", job.metrics.validation or {})):
            lines |= {f"{part} {name}": f"{value:.4g}" for name, value in values.items()}
    shown = {label: text for label, text in lines.items() if text}
    width = max(map(len, shown))
    for label, text in shown.items():
        typer.echo(f"{label:<{width}}  {text}")


def _attempts(job: JobRecord) -> str | None:
    """Write how the attempts ended, when there was more than one."""
    ended = [f"{one.number} {one.reason}" for one in job.attempts if one.reason is not None]
    return ", ".join(ended) if job.attempt > 1 else None


def size(size_bytes: int) -> str:
    """Write a size for people."""
    amount = float(size_bytes)
    for unit in ("B", "kB", "MB"):
        if amount < _KILO:
            return f"{amount:.3g} {unit}"
        amount /= _KILO
    return f"{amount:.3g} GB"


def time(moment: datetime) -> str:
    """Write a moment in the reader's own time zone."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, datetime):
        return value.isoformat()
    array: Any = value  # NumPy's, the only other type in a record
    return array.tolist()
