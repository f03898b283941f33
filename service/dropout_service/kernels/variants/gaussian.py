"""Gaussian dropout: every element times a normal number of mean 1."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from dropout_service.kernels.codegen.compile_cache import warms
from dropout_service.kernels.codegen.keystream import GENERATOR
from dropout_service.kernels.dropout import noise_loops
from dropout_service.kernels.runtime import parallel
from dropout_service.kernels.runtime.memory import address
from dropout_service.kernels.variants import elementwise
from dropout_service.kernels.variants.parameters import RATE
from dropout_service.kernels.variants.table import Pass, Variant

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dropout_service.kernels.arguments import Scaling

__all__ = ["GAUSSIAN"]

_GRAIN: Final = 1 << 13


@dataclass(frozen=True, slots=True, kw_only=True)
class GaussianVariant(Variant):
    """x times noise that has the mean and the variance of an inverted mask."""

    masked: ClassVar[bool] = False
    algorithm: ClassVar[str] = f"{GENERATOR}/u32-normal"

    def effective_rate(self, rate: float) -> float:
        """Return the rate itself: the noise is not rounded to levels."""
        return self.rate.checked(rate)

    def scale(self, rate: float, scaling: Scaling = "inverted", training: bool = True) -> float:  # noqa: ARG002, FBT001, FBT002 - as in `Variant.scale`
        """Return 1, the mean of the noise."""
        self.rate.checked(rate)
        self._checked_scaling(scaling)
        return 1.0

    def _forward(self, given: Pass) -> None:
        if not given.training or given.rate == 0:
            elementwise.copy(given)
            return
        deviation = math.sqrt(given.rate / (1 - given.rate))

        def work(x: NDArray[Any], y: NDArray[Any]) -> None:
            arguments = noise_loops.GAUSSIAN.pack(
                x.itemsize, address(x), address(y), deviation, given.offset, given.seed
            )
            parallel.run(noise_loops.gaussian, arguments, x.size, grain=_GRAIN, threads=given.threads)

        elementwise.through(given, work)

    def _backward(self, given: Pass) -> None:
        self._forward(given)  # the map is linear and diagonal: its gradient is the same map


GAUSSIAN: Final = GaussianVariant(
    name="gaussian",
    title="Gaussian dropout",
    drops="nothing: each element is multiplied by a normal number of mean 1 and variance rate / (1 - rate)",
    constraints="any shape",
    formula="y = x * (1 + sqrt(rate / (1 - rate)) * normal)",
    gradient="grad_input = grad_output * (1 + sqrt(rate / (1 - rate)) * normal), the same normal numbers",
    paper="Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov: Dropout: A Simple Way to Prevent Neural Networks "
    "from Overfitting. Journal of Machine Learning Research 15 (2014) 1929-1958, section 10",
    rate=replace(RATE, exclusive_maximum=True),
)


@warms
def _exercise() -> None:
    GAUSSIAN.forward(np.ones(1), 0.5, seed=0)
