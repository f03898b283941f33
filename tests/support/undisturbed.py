"""What trainings come to when nothing happens to them: that which interrupted ones are compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from service_tree import history
from trainings import DATASETS, TRAININGS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fault_ledger import Ledger
    from service_tree import ServiceTree

__all__ = ["Undisturbed"]


@dataclass(frozen=True, slots=True)
class Undisturbed:
    """Specifications with their histories, by kind; the data are uploaded."""

    specs: dict[str, dict[str, Any]]
    histories: dict[str, dict[str, Any]]

    @classmethod
    def run(cls, tree: ServiceTree, kinds: Iterable[str] = TRAININGS) -> Self:
        """Run each kind once; the service must have a dispatcher."""
        datasets = {task: {"dataset": tree.upload(content)} for task, content in DATASETS.items()}
        specs = {
            kind: {"name": kind, "data": datasets[fields["task"]], "seed": number, **fields}
            for number, (kind, fields) in enumerate(TRAININGS.items())
            if kind in set(kinds)
        }
        jobs = {kind: tree.submit(spec) for kind, spec in specs.items()}
        assert {tree.ended(job_id)["attempt"] for job_id in jobs.values()} == {1}
        return cls(specs, {kind: history(tree, job_id) for kind, job_id in jobs.items()})

    def submit(self, tree: ServiceTree, kind: str) -> str:
        """Submit a training of this kind."""
        return tree.submit(self.specs[kind])

    def confirm(self, tree: ServiceTree, jobs: dict[str, str], ledger: Ledger, what: str) -> None:
        """Check that jobs, given with their kinds, end as the undisturbed ones did; enter that into the ledger."""
        for job_id, kind in jobs.items():
            job = tree.ended(job_id)
            ledger.count("jobs_lost", by=job["status"] != "succeeded")
            ledger.count("results_duplicate", by=max(0, len(tree.models_of(job_id)) - 1))
            assert job["status"] == "succeeded", job
            assert history(tree, job_id) == self.histories[kind], f"{kind}: {job_id}"
            ledger.count(f"jobs_completed.{what}")
