"""Concrete dropout: a smooth mask, so that the rate has a gradient and can be learned."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from dropout_service.errors import InvalidInputError
from dropout_service.kernels.codegen.compile_cache import warms
from dropout_service.kernels.codegen.keystream import GENERATOR
from dropout_service.kernels.codegen.noise_math import LANES
from dropout_service.kernels.dropout import noise_loops
from dropout_service.kernels.runtime import parallel
from dropout_service.kernels.runtime.memory import address
from dropout_service.kernels.variants import elementwise
from dropout_service.kernels.variants.parameters import RATE, Parameter
from dropout_service.kernels.variants.table import Pass, Variant

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dropout_service.kernels.arguments import Scaling

__all__ = ["CONCRETE"]

_GRAIN: Final = 2 * noise_loops.SUM_ELEMENTS


@dataclass(frozen=True, slots=True, kw_only=True)
class ConcreteVariant(Variant):
    """A relaxed Bernoulli number for each element."""

    masked: ClassVar[bool] = False
    needs_x: ClassVar[bool] = True
    algorithm: ClassVar[str] = f"{GENERATOR}/u32"

    def effective_rate(self, rate: float) -> float:
        """Return the rate itself: it is learned, so it is not rounded."""
        return self.rate.checked(rate)

    def scale(self, rate: float, scaling: Scaling = "inverted", training: bool = True) -> float:  # noqa: FBT001, FBT002 - as in `Variant.scale`
        """Return 1 / (1 - rate) in training."""
        self._checked_scaling(scaling)
        rate = self.rate.checked(rate)
        return 1 / (1 - rate) if training else 1.0

    def _forward(self, given: Pass) -> None:
        if not given.training:
            elementwise.copy(given)
            return

        def work(x: NDArray[Any], y: NDArray[Any]) -> None:
            arguments = noise_loops.CONCRETE.pack(
                x.itemsize, address(x), address(y), *_numbers(given), given.offset, given.seed
            )
            parallel.run(noise_loops.concrete, arguments, x.size, grain=_GRAIN, threads=given.threads)

        elementwise.through(given, work)

    def _backward(self, given: Pass) -> float:
        if given.x is None or given.x.shape != given.array.shape or given.x.dtype != given.array.dtype:
            message = (
                f'the backward pass of variant "{self.name}" needs x, the input of the forward pass, '
                f"{given.array.dtype.name} of shape {list(given.array.shape)} like grad_output"
            )
            raise InvalidInputError.at("/x", message)
        if not given.training:
            elementwise.copy(given)
            return 0.0
        x = elementwise.flat(given.x, given.threads)
        if np.may_share_memory(x, given.out):
            x = x.copy()
        sums = np.zeros((-(-x.size // noise_loops.SUM_ELEMENTS), LANES))
        slope = 1 / given.parameters["temperature"] / given.rate

        def work(grad_output: NDArray[Any], grad_input: NDArray[Any]) -> None:
            addresses = (address(grad_output), address(x), address(grad_input), address(sums))
            arguments = noise_loops.CONCRETE_BACKWARD.pack(
                x.itemsize, *addresses, *_numbers(given), slope, given.offset, given.seed
            )
            parallel.run(noise_loops.concrete_backward, arguments, x.size, grain=_GRAIN, threads=given.threads)

        elementwise.through(given, work)
        with np.errstate(invalid="ignore", over="ignore"):
            return float(sums.sum(axis=0).sum()) / (1 - given.rate)


def _numbers(given: Pass) -> tuple[float, float, float]:
    """Return the odds of dropping, 1 / temperature and 1 / keep_prob."""
    keep_prob = 1 - given.rate
    return given.rate / keep_prob, 1 / given.parameters["temperature"], 1 / keep_prob


CONCRETE: Final = ConcreteVariant(
    name="concrete",
    title="Concrete dropout",
    drops="each element by a smooth amount z between 0 and 1, so that the rate can be learned by gradient",
    constraints="any shape; the backward pass also needs x",
    formula="y = x * (1 - z) / (1 - rate), z = sigmoid((log(rate / (1 - rate)) + log(u / (1 - u))) / temperature), "
    "u uniform",
    gradient="grad_input = grad_output * (1 - z) / (1 - rate); grad_rate = sum(grad_output * x * (1 - z) * "
    "(1 - z / (temperature * rate))) / (1 - rate)^2",
    paper="Gal, Hron, Kendall: Concrete Dropout. NIPS 2017, 3581-3590",
    parameters=(
        Parameter(
            "temperature",
            "of the relaxation: the smaller, the closer is z to 0 or 1",
            "number",
            default=0.1,
            minimum=0,
            exclusive_minimum=True,
        ),
    ),
    rate=replace(RATE, exclusive_minimum=True, exclusive_maximum=True),
)


@warms
def _exercise() -> None:
    x = np.ones(1)
    CONCRETE.forward(x, 0.5, seed=0)
    CONCRETE.backward(x, 0.5, seed=0, x=x)
