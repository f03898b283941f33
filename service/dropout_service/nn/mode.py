"""``Mode``: what a pass through a network is for, and where its noise comes from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, Literal, Self

import numpy as np

from dropout_service.kernels.streams import Purpose, bits, stream

__all__ = ["EVALUATION", "Mode", "member_seed"]

_WORD: Final = (1 << 64) - 1
_SPREAD: Final = 0x9E3779B97F4A7C15
"""2^64 over the golden ratio: odd, so that its multiples are all different modulo 2^64."""


@dataclass(frozen=True, slots=True)
class Mode:
    """The mode of one pass; its noise is a pure function of these fields and the layer's number.

    ============== ======== ===================================================================
    kind           dropout  a layer with statistics of the rows (buffers)
    ============== ======== ===================================================================
    training       active   takes those of the pass, and moves its buffers
    evaluation     off      takes its buffers
    monte_carlo    active   takes its buffers
    ============== ======== ===================================================================

    Parameters
    ----------
    kind
        One of the above.
    seed
        Seed of the training or of the prediction.
    step
        Global step of a training, or number of a Monte-Carlo sample.
    first_row
        Place of the pass's first row in the whole array, a multiple of 64. Row r gets the same mask of standard
        dropout however the rows are cut into passes; the other variants draw for each pass on its own, the same for
        the same cut.
    """

    kind: Literal["training", "evaluation", "monte_carlo"]
    seed: int = 0
    step: int = 0
    first_row: int = 0

    @classmethod
    def training(cls, seed: int, step: int, *, first_row: int = 0) -> Self:
        """Return the mode of a training step."""
        return cls("training", seed, step, first_row)

    @classmethod
    def monte_carlo(cls, seed: int, sample: int, *, first_row: int = 0) -> Self:
        """Return the mode of a Monte-Carlo sample (Gal and Ghahramani 2016)."""
        return cls("monte_carlo", seed, sample, first_row)

    def of_member(self, member: int) -> Self:
        """Return the mode of a member of an ensemble, where this is that of the first."""
        return replace(self, seed=member_seed(self.seed, member))

    @property
    def noisy(self) -> bool:
        """Whether dropout is active."""
        return self.kind != "evaluation"

    def offset(self, layer: int) -> int:
        """Return the stream of a layer."""
        purpose = Purpose.MC_SAMPLE if self.kind == "monte_carlo" else Purpose.DROPOUT
        return stream(purpose, layer=layer, step=self.step)

    @property
    def seed_of_rows(self) -> int:
        """The seed of the pass that begins at ``first_row``, for noise that knows no place to begin at."""
        return self.seed ^ (self.first_row * _SPREAD & _WORD)


EVALUATION: Final = Mode("evaluation")
"""Nothing is random."""


@lru_cache(maxsize=1024)  # asked in every step of members that share weights
def member_seed(seed: int, member: int) -> int:
    """Return the seed of a network's initial weights, shuffles and masks, below 2^53; that of the first is the seed."""
    if member == 0:
        return seed
    return int(bits(1, seed=seed, offset=stream(Purpose.MEMBER, step=member))[0] >> np.uint64(11))
