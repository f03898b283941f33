"""``MemberPlan``: what one network of a training is trained on, and how."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dropout_service.nn.mode import member_seed
from dropout_service.scratch import IN_MEMORY
from dropout_service.training.split import split

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dropout_service.scratch import Scratch
    from dropout_service.training.data import TrainingData
    from dropout_service.training.spec import TrainingSpec
    from dropout_service.training.split import Split

__all__ = ["MemberPlan", "have_one_split", "plans_of_ensemble"]


@dataclass(frozen=True, slots=True, eq=False)
class MemberPlan:
    """One network of a training.

    Parameters
    ----------
    spec
        How it is trained; its seed is that of this network's initial weights, shuffles and masks.
    parts
        The rows that it is trained and validated on.
    """

    spec: TrainingSpec
    parts: Split

    @property
    def rows_digest(self) -> str:
        """Digest of the numbers of the rows of both parts."""
        digest = hashlib.sha256()
        for part in self.parts:
            digest.update(repr(part.shape).encode())
            digest.update(np.ascontiguousarray(part, np.int64).data)
        return f"sha256:{digest.hexdigest()}"


def plans_of_ensemble(spec: TrainingSpec, data: TrainingData, scratch: Scratch = IN_MEMORY) -> list[MemberPlan]:
    """Return the networks of a specification: they differ in their seeds, and in their rows where it says so.

    Those that share weights are one.

    Parameters
    ----------
    spec, data
        The training.
    scratch
        Makes the numbers of their rows.

    Raises
    ------
    InvalidInputError
        As ``split``.
    """
    seeds = [member_seed(spec.seed, number) for number in range(1 if spec.model.shares else spec.model.members)]
    if spec.model.own_parts:
        parts = [split(data, spec.validation_fraction, seed=seed, scratch=scratch) for seed in seeds]
    else:
        parts = [split(data, spec.validation_fraction, seed=spec.seed, scratch=scratch)] * len(seeds)
    return [MemberPlan(spec.model_copy(update={"seed": seed}), part) for seed, part in zip(seeds, parts, strict=True)]


def have_one_split(plans: Sequence[MemberPlan]) -> bool:
    """Whether all networks are trained on the same rows, and validated on the same."""
    first = plans[0].parts
    return all(plan.parts is first or all(map(np.array_equal, plan.parts, first)) for plan in plans)
