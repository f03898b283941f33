"""A live bar where somebody can see it: terminals and notebooks. Elsewhere nothing is printed."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from dropout_client.records import JobRecord

    Show = Callable[[JobRecord], None]

__all__ = ["display", "standing"]

_BAR_CELLS = 30
_AT_REST = frozenset({"pausing", "paused"})


@contextmanager
def display(*, progress: bool) -> Generator[Show | None]:
    """Give a function that shows a job's state in place, or ``None`` where it should not or cannot be shown.

    Rich draws the bar if it is installed.
    """
    if not progress or not (sys.stderr.isatty() or _in_notebook()):
        yield None
        return
    with _rich_bar() if find_spec("rich") else _plain_bar() as show:
        yield show


def standing(job: JobRecord) -> str:
    """Write the job's status, with why it ended or what it is doing where that is known."""
    detail = job.stop_reason or (job.phase if job.status == "running" else None)
    return job.status if detail is None else f"{job.status} ({detail})"


def describe(job: JobRecord) -> str:
    """Write the job's epoch and metrics in a few words."""
    epoch = f"epoch {job.epoch}/{job.epochs}" if job.epoch and job.epochs else None
    words = [standing(job)] if job.finished or job.status in _AT_REST or epoch is None else []
    if epoch is not None:
        words.append(epoch)
    if job.metrics is not None:
        parts = {"train": job.metrics.train, "validation": job.metrics.validation or {}}
        words += [f"{part} {name} {value:.4g}" for part, values in parts.items() for name, value in values.items()]
    return "  ".join(words)


@contextmanager
def _rich_bar() -> Generator[Show]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.table import Column

    bar = Progress(
        TextColumn("{task.fields[title]}"),
        BarColumn(bar_width=_BAR_CELLS),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        # Takes what the others leave: in a narrow terminal the metrics are cut, not the bar.
        TextColumn("{task.description}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")),
        console=Console(stderr=True),
        expand=True,
    )
    with bar:
        task = bar.add_task("", total=1.0, title="training")

        def show(job: JobRecord) -> None:
            bar.update(task, completed=job.progress, description=describe(job), title=job.name or job.id)

        yield show


@contextmanager
def _plain_bar() -> Generator[Show]:
    width = 0

    def show(job: JobRecord) -> None:
        nonlocal width
        filled = round(job.progress * _BAR_CELLS)
        line = f"{'#' * filled}{'.' * (_BAR_CELLS - filled)} {job.progress:4.0%}  {describe(job)}"
        sys.stderr.write(f"\r{line.ljust(width)}")
        sys.stderr.flush()
        width = len(line)

    try:
        yield show
    finally:
        sys.stderr.write("\n")


def _in_notebook() -> bool:
    """Whether this runs in a Jupyter kernel; IPython is asked only if somebody else has loaded it."""
    ipython = sys.modules.get("IPython")
    if ipython is None:
        return False
    shell = ipython.get_ipython()
    return shell is not None and type(shell).__name__ == "ZMQInteractiveShell"
