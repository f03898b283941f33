"""The figures of a run of the fault suite, printed at its end, one `name value unit` a line."""

from __future__ import annotations

import statistics
from collections import defaultdict

__all__ = ["Ledger"]


class Ledger:
    """Counts, and samples of times.

    Examples
    --------
    >>> ledger = Ledger()
    >>> ledger.count("jobs_completed")
    >>> ledger.sample("recover.kill_training", 0.5, "s")
    >>> ledger.sample("recover.kill_training", 0.25, "s")
    >>> ledger.sample("recover.kill_training", 0.75, "s")
    >>> print(*ledger.lines(), sep="\\n")
    jobs_completed 1 jobs
    recover.kill_training.median 0.5 s
    recover.kill_training.worst 0.75 s
    """

    def __init__(self) -> None:
        self._counts: defaultdict[str, int] = defaultdict(int)
        self._samples: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
        self._figures: dict[str, tuple[float, str]] = {}

    def count(self, name: str, by: int = 1) -> None:
        """Add to a count; what is counted is the first word of the name."""
        self._counts[name] += by

    def sample(self, name: str, value: float, unit: str) -> None:
        """Add to the samples of which the median and the worst are told."""
        self._samples[name, unit].append(value)

    def figure(self, name: str, value: float, unit: str) -> None:
        """Tell one figure."""
        self._figures[name] = value, unit

    def lines(self) -> list[str]:
        """Return all figures, sorted by name within their sort."""
        counts = [f"{name} {value} {name.partition('_')[0]}" for name, value in sorted(self._counts.items())]
        samples = [
            line
            for (name, unit), values in sorted(self._samples.items())
            for line in (
                f"{name}.median {statistics.median(values):.3g} {unit}",
                f"{name}.worst {max(values):.3g} {unit}",
            )
        ]
        figures = [f"{name} {value:.4g} {unit}" for name, (value, unit) in sorted(self._figures.items())]
        return counts + samples + figures
