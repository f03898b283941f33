"""``Mode``: what a pass through a network is for, and where its noise comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, Self

from dropout_service.kernels.streams import Purpose, stream

__all__ = ["EVALUATION", "Mode"]

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
