"""Concrete dropout: the rate is learned by gradient (Gal, Hron and Kendall 2017, "Concrete dropout")."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from dropout_service.nn.layers.base import NOTHING
from dropout_service.nn.layers.dropout import VariantDropout

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import DTypeLike, NDArray

    from dropout_service.nn.layers.rules import DropoutRule
    from dropout_service.nn.mode import Mode

    Floats = NDArray[np.floating]

__all__ = ["ConcreteDropout"]

_LOWEST = 1e-7
"""Rates are kept this far from 0 and 1, where the noise has no derivative."""


class ConcreteDropout(VariantDropout):
    """Concrete dropout with its rate as a parameter: rate = sigmoid(``rate_logit``).

    ``backward`` writes the gradient of the loss by the logit; ``regularize`` adds that of the paper's penalty.

    Parameters
    ----------
    units, rule, layer, dtype
        As for ``VariantDropout``; the rule's rate is the initial one.
    """

    learned: ClassVar[bool] = True
    length_scale: ClassVar[float] = 1e-4
    """Prior length-scale of the weights, that of the paper's experiments."""

    def __init__(self, units: int, rule: DropoutRule, *, layer: int, dtype: DTypeLike = np.float32) -> None:
        super().__init__(units, rule, layer=layer, dtype=dtype)
        self.shapes: Mapping[str, tuple[int, ...]] = {"rate_logit": (1,)}
        self.logit: Floats = np.zeros(1, dtype)
        self.logit_grad: Floats = np.zeros(1, dtype)
        self._x: Floats = np.empty((0, units), dtype)
        self.rate = rule.rate

    def initialize(self, initializer: str, *, seed: int, number: int) -> None:
        """Go back to the rule's rate."""
        del initializer, seed, number
        self.rate = self.rule.rate

    @property
    def rate(self) -> float:
        """The rate learned so far; setting it moves the logit."""
        logit = float(self.logit[0])
        odds = math.exp(-abs(logit))
        rate = 1 / (1 + odds) if logit > 0 else odds / (1 + odds)
        return min(max(rate, _LOWEST), 1 - _LOWEST)

    @rate.setter
    def rate(self, rate: float) -> None:
        self.logit[:] = math.log(rate / (1 - rate))

    def bind(
        self, params: Mapping[str, Floats], grads: Mapping[str, Floats], buffers: Mapping[str, Floats] = NOTHING
    ) -> None:
        """Take ``rate_logit`` from ``params``, and where its gradient goes from ``grads``."""
        super().bind(params, grads, buffers)
        self.logit, self.logit_grad = params["rate_logit"], grads["rate_logit"]

    def forward(self, x: Floats, mode: Mode, *, differentiable: bool) -> Floats:
        """Return ``x`` (rows, units) with noise; ``x`` must stay unchanged until ``backward``."""
        self._x = x
        return super().forward(x, mode, differentiable=differentiable)

    def backward(self, grad_output: Floats, *, input_gradient: bool) -> Floats | None:
        """Write the gradient by the logit; return that by the input in place of ``grad_output``, if asked."""
        self.logit_grad[:] = 0
        if self._drawn is not None:
            rate = self.rate
            grad_rate = self._differentiate(grad_output, self._drawn, self._x)
            self.logit_grad[:] = 0.0 if grad_rate is None else grad_rate * rate * (1 - rate)
        return grad_output if input_gradient else None

    def regularize(self, weight: Floats, weight_grad: Floats, rows: int) -> float:
        """Add the gradients of the penalty of this layer; return the penalty.

        It is (l^2 ||W||^2 / (2 (1 - p)) - K H(p)) / rows: W are the weights that read the K units of this layer, H is
        the entropy of a draw that is 1 with probability p, and l the length-scale. Divided by the rows, it is on the
        scale of a mean loss.

        Parameters
        ----------
        weight, weight_grad
            W and its gradient, which is added to.
        rows
            Rows of the training part.
        """
        rate = self.rate
        keep_prob = 1 - rate
        strength = self.length_scale**2 / keep_prob / rows
        weight_penalty = 0.5 * strength * float(np.vdot(weight, weight))
        weight_grad += strength * weight
        logit = math.log(rate / keep_prob)
        grad_rate = weight_penalty / keep_prob + self.units * logit / rows
        self.logit_grad += grad_rate * rate * keep_prob
        entropy = -(rate * math.log(rate) + keep_prob * math.log(keep_prob))
        return weight_penalty - self.units * entropy / rows
