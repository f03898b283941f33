"""Jobs that are interrupted at random end as if nothing had happened, to the last bit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from service_tree import ServiceTree, history, service_tree
from storm import Storm, specifications

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from fault_ledger import Ledger


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceTree]:
    with service_tree(tmp_path_factory.mktemp("storm") / "data") as tree:
        yield tree


@pytest.fixture(scope="module")
def specs(tree: ServiceTree) -> dict[str, dict[str, Any]]:
    return specifications(tree)


@pytest.fixture(scope="module")
def undisturbed(tree: ServiceTree, specs: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Run each kind of job once without a fault."""
    jobs = {kind: tree.submit(spec) for kind, spec in specs.items()}
    for job_id in jobs.values():
        job = tree.ended(job_id)
        assert (job["status"], job["attempt"]) == ("succeeded", 1), job
    return {kind: history(tree, job_id) for kind, job_id in jobs.items()}


@pytest.fixture
def storm(tree: ServiceTree, specs: dict[str, dict[str, Any]], rng: random.Random, ledger: Ledger) -> Storm:
    return Storm(tree, rng, specs, ledger)


@pytest.mark.timeout(1200)
def test_interrupted_jobs_end_as_if_they_had_not_been(
    tree: ServiceTree,
    undisturbed: dict[str, dict[str, Any]],
    storm: Storm,
    ledger: Ledger,
    pytestconfig: pytest.Config,
):
    storm.rage(pytestconfig.option.interruptions)
    for job_id, kind in storm.jobs.items():
        job = tree.job(job_id)
        assert job["status"] == "succeeded", job
        assert history(tree, job_id) == undisturbed[kind], f"{kind}: {job_id}"
        ledger.count("jobs_completed.storm")
