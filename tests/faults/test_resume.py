"""Jobs that are interrupted at random end as if nothing had happened, to the last bit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from postgres import run_postgres
from service_tree import ServiceTree, service_tree
from storm import Storm
from undisturbed import Undisturbed

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator
    from pathlib import Path

    from fault_ledger import Ledger


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """Settings that choose the database."""
    if request.param == "sqlite":
        yield {}
        return
    with run_postgres(settings=()) as server, server.database("storm") as url:
        yield {"database_url": url}


@pytest.mark.timeout(1800)
def test_interrupted_jobs_end_as_if_they_had_not_been(
    tmp_path: Path, database: dict[str, str], rng: random.Random, ledger: Ledger, pytestconfig: pytest.Config
):
    # On the second database the trainings are the same; what differs is known after fewer.
    interruptions = pytestconfig.option.interruptions // (4 if database else 1)
    with service_tree(tmp_path / "data", **database) as tree:
        undisturbed = Undisturbed.run(tree)
        storm = Storm(tree, rng, undisturbed.specs, ledger)
        storm.rage(interruptions)
        undisturbed.confirm(tree, storm.jobs, ledger, "storm")
        assert_nothing_is_left_over(tree)


def assert_nothing_is_left_over(tree: ServiceTree) -> None:
    """A new dispatcher removes the checkpoints that killed ones have left."""
    tree.stop()
    tree.start()
    tree.wait_for_no_checkpoints()
