"""Jobs that are interrupted at random end as if nothing had happened, to the last bit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from service_tree import ServiceTree, service_tree
from storm import Storm
from undisturbed import Undisturbed

if TYPE_CHECKING:
    import random
    from pathlib import Path

    from fault_ledger import Ledger


@pytest.mark.timeout(1200)
def test_interrupted_jobs_end_as_if_they_had_not_been(
    tmp_path: Path, rng: random.Random, ledger: Ledger, pytestconfig: pytest.Config
):
    with service_tree(tmp_path / "data") as tree:
        undisturbed = Undisturbed.run(tree)
        storm = Storm(tree, rng, undisturbed.specs, ledger)
        storm.rage(pytestconfig.option.interruptions)
        undisturbed.confirm(tree, storm.jobs, ledger, "storm")
        assert_nothing_is_left_over(tree)


def assert_nothing_is_left_over(tree: ServiceTree) -> None:
    """A new dispatcher removes the checkpoints that killed ones have left."""
    tree.stop()
    tree.start()
    tree.wait_for_no_checkpoints()
