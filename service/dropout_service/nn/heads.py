"""Output heads: what the outputs of a network mean. Losses, predictions and exports share these.

========== ===================== ======================================== ================================
head       outputs               of a row                                 figures of a prediction
========== ===================== ======================================== ================================
softmax    one logit a class     probabilities of the classes             ``probabilities``
sigmoid    the logit of class 1  probabilities of both classes            ``probabilities``
value      the value             the value                                ``values``
gaussian   value, log-variance   mean and variance of a normal number     ``values``, ``aleatoric_std``
quantile   one value a level     the quantiles of these levels, rising    ``values``, ``quantiles``
========== ===================== ======================================== ================================

With Monte-Carlo samples there are also ``probabilities_std``, ``entropy`` and ``mutual_information``, or ``std``.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, Literal

import numpy as np

from dropout_service.kernels.training.losses import LOG_VARIANCE_FLOOR
from dropout_service.nn.ops import Op
from dropout_service.nn.units import Unit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Floats = NDArray[np.floating]
    Values = NDArray[np.float64]

__all__ = [
    "GAUSSIAN",
    "SIGMOID",
    "SOFTMAX",
    "VALUE",
    "ClassHead",
    "Head",
    "QuantileHead",
    "ValueHead",
    "gaussian_head",
    "quantile_head",
    "value_head",
]


STANDARDIZED: Final = Unit()
"""That of the network itself."""


@dataclass(frozen=True, slots=True)
class Head(abc.ABC):
    """An output head.

    Parameters
    ----------
    name
        Its name.
    units
        Units of the output layer; ``None``: one for each class.
    targets
        How many targets it is for. The figures of one have no axis of targets; of more, it comes after that of the
        rows.
    """

    task: ClassVar[Literal["classification", "regression"]]
    """What kind of target it is for."""

    name: str
    units: int | None
    targets: int = 1

    @property
    @abc.abstractmethod
    def outputs(self) -> tuple[str, ...]:
        """Names of the values that ``lower`` computes."""

    @abc.abstractmethod
    def figures(self, passes: Iterable[Floats], *, sampled: bool, unit: Unit = STANDARDIZED) -> dict[str, Values]:
        """Return what the outputs of one or more passes over the same rows say, float64, by the names above.

        Parameters
        ----------
        passes
            Outputs of the network, shape (rows, units) each: one pass in evaluation, or Monte-Carlo samples.
        sampled
            Whether they are samples.
        unit
            Of the target. Values and quantiles are means over the samples as the network says them, brought into this
            unit; deviations are those of samples, and of a normal number, in this unit.
        """

    @abc.abstractmethod
    def lower(self) -> tuple[Op, ...]:
        """Return what one pass means as operations, from ``x``, (rows, units), to ``outputs``."""


@dataclass(frozen=True, slots=True)
class ClassHead(Head):
    """Probabilities of classes."""

    task: ClassVar[Literal["classification", "regression"]] = "classification"

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the values that ``lower`` computes."""
        return ("probabilities",)

    def probabilities(self, logits: Floats) -> Values:
        """Return the probabilities of the classes, float64, shape (rows, classes)."""
        if self.units == 1:
            half = 0.5 * np.tanh(0.5 * logits[:, 0].astype(np.float64))
            return np.stack([0.5 - half, 0.5 + half], axis=1)
        probabilities = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
        return probabilities / probabilities.sum(axis=1, keepdims=True)

    def figures(self, passes: Iterable[Floats], *, sampled: bool, unit: Unit = STANDARDIZED) -> dict[str, Values]:
        """Return the figures of a prediction, see ``Head.figures``."""
        del unit
        moments, mean_entropy = _Moments(), _Moments()
        for logits in passes:
            probabilities = self.probabilities(logits)
            moments.add(probabilities)
            if sampled:
                mean_entropy.add(_entropy(probabilities))
        if not sampled:
            return {"probabilities": moments.mean}
        entropy = _entropy(moments.mean)
        return {
            "probabilities": moments.mean,
            "probabilities_std": moments.std,
            "entropy": entropy,
            # Rounding can leave a difference of equals just below 0
            "mutual_information": np.maximum(entropy - mean_entropy.mean, 0.0),
        }

    def lower(self) -> tuple[Op, ...]:
        """Return the probabilities as operations."""
        if self.units == 1:
            return (Op("sigmoid", ("x",), "of_class_1"), Op("complement", ("of_class_1",), "probabilities"))
        return (Op("softmax", ("x",), "probabilities"),)


@dataclass(frozen=True, slots=True)
class ValueHead(Head):
    """A value of each target; a Gaussian one also the logarithm of the target's variance (Nix and Weigend 1994).

    Parameters
    ----------
    gaussian
        Whether the variance is learned: the units are then value, log-variance, value, log-variance, ...
    """

    task: ClassVar[Literal["classification", "regression"]] = "regression"

    gaussian: bool = False

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the values that ``lower`` computes."""
        return ("values", "aleatoric_std") if self.gaussian else ("values",)

    def figures(self, passes: Iterable[Floats], *, sampled: bool, unit: Unit = STANDARDIZED) -> dict[str, Values]:
        """Return the figures of a prediction, see ``Head.figures``."""
        values, measured, variance = _Moments(), _Moments(), _Moments()
        for outputs in passes:
            value = self._of_targets(outputs, 0)
            values.add(value)
            if sampled:
                measured.add(unit.measured(value))
            if self.gaussian:
                learned = np.exp(np.maximum(self._of_targets(outputs, 1), LOG_VARIANCE_FLOOR))
                variance.add(unit.variance(value, learned))
        figures = {"values": unit.values(values.mean)}
        if sampled:
            figures["std"] = unit.spread(measured.std)
        if self.gaussian:
            figures["aleatoric_std"] = unit.spread(np.sqrt(variance.mean))
        return figures

    def lower(self) -> tuple[Op, ...]:
        """Return value and deviation as operations, in units of the standardised target."""
        value = self._chosen(0, "values")
        if not self.gaussian:
            return (value,)
        return (
            value,
            self._chosen(1, "log_variance"),
            Op("maximum", ("log_variance",), "bounded", {"bound": LOG_VARIANCE_FLOOR}),
            Op("exp", ("bounded",), "variance"),
            Op("sqrt", ("variance",), "aleatoric_std"),
        )

    @property
    def _step(self) -> int:
        return 2 if self.gaussian else 1

    def _of_targets(self, outputs: Floats, part: int) -> Values:
        """Return one part of each target, float64, shape (rows, targets); of one target (rows,)."""
        chosen = outputs[:, part] if self.targets == 1 else outputs[:, part :: self._step]
        return chosen.astype(np.float64)

    def _chosen(self, part: int, output: str) -> Op:
        if self.targets == 1:
            return Op("column", ("x",), output, {"index": part})
        columns = tuple(range(part, self._step * self.targets, self._step))
        return Op("select", ("x",), output, {"columns": columns})


@dataclass(frozen=True, slots=True)
class QuantileHead(Head):
    """Quantiles of each target, one for each level.

    They are trained one by one and may cross; a prediction has them in rising order, which is never further from the
    true quantiles (Chernozhukov, Fernandez-Val and Galichon 2010, "Quantile and probability curves without crossing").
    The value is the one whose level is nearest to 1/2.

    Parameters
    ----------
    levels
        In (0, 1), rising; the units are those of the first target, then those of the second, ...
    """

    task: ClassVar[Literal["classification", "regression"]] = "regression"

    levels: tuple[float, ...] = ()

    @property
    def middle(self) -> int:
        """Number of the level that is nearest to 1/2, the first of two."""
        return min(range(len(self.levels)), key=lambda place: abs(self.levels[place] - 0.5))

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the values that ``lower`` computes; its quantiles of several targets stand side by side."""
        return ("values", "quantiles")

    def figures(self, passes: Iterable[Floats], *, sampled: bool, unit: Unit = STANDARDIZED) -> dict[str, Values]:
        """Return the figures of a prediction, see ``Head.figures``."""
        shape = (-1, len(self.levels)) if self.targets == 1 else (-1, self.targets, len(self.levels))
        moments, measured = _Moments(), _Moments()
        for outputs in passes:
            rising = np.sort(outputs.astype(np.float64).reshape(shape), axis=-1)
            moments.add(rising)
            if sampled:
                measured.add(unit.measured(rising[..., self.middle]))
        # Targets are the last axis of what a unit takes
        quantiles = np.moveaxis(unit.values(np.moveaxis(moments.mean, -1, 0)), 0, -1)
        figures = {"values": quantiles[..., self.middle], "quantiles": quantiles}
        if sampled:
            figures["std"] = unit.spread(measured.std)
        return figures

    def lower(self) -> tuple[Op, ...]:
        """Return the quantiles in order as operations, in units of the standardised target."""
        quantiles = Op("sort", ("x",), "quantiles", {"groups": self.targets})
        if self.targets == 1:
            return (quantiles, Op("column", ("quantiles",), "values", {"index": self.middle}))
        columns = tuple(range(self.middle, self.targets * len(self.levels), len(self.levels)))
        return (quantiles, Op("select", ("quantiles",), "values", {"columns": columns}))


def value_head(targets: int = 1) -> ValueHead:
    """Return the head of a value of each target."""
    return ValueHead("value", targets, targets)


def gaussian_head(targets: int = 1) -> ValueHead:
    """Return the head of a value and a log-variance of each target."""
    return ValueHead("gaussian", 2 * targets, targets, gaussian=True)


def quantile_head(levels: tuple[float, ...], targets: int = 1) -> QuantileHead:
    """Return the head of quantiles of some levels of each target."""
    return QuantileHead("quantile", targets * len(levels), targets, levels)


SOFTMAX: Final = ClassHead("softmax", None)
SIGMOID: Final = ClassHead("sigmoid", 1)
VALUE: Final = value_head()
GAUSSIAN: Final = gaussian_head()


class _Moments:
    """Mean and variance of arrays that come one by one (Welford 1962): no sample is kept."""

    def __init__(self) -> None:
        self.count = 0
        self.mean: Values = np.zeros(())
        self._squares: Values = np.zeros(())

    def add(self, values: Values) -> None:
        self.count += 1
        before = values - self.mean
        self.mean = self.mean + before / self.count
        self._squares = self._squares + before * (values - self.mean)

    @property
    def std(self) -> Values:
        return np.sqrt(self._squares / self.count)


def _entropy(probabilities: Values) -> Values:
    """Return -sum p log p of each row, in nats."""
    # The smallest normal number stands in for 0: p log p is 0 there too
    return -(probabilities * np.log(np.maximum(probabilities, np.finfo(np.float64).tiny))).sum(axis=1)
