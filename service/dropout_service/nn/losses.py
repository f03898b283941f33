"""The table of losses.

============================ ======== ======================================= ====================
name                         head     loss of a row                           metric sums
============================ ======== ======================================= ====================
``cross_entropy``            softmax  -log softmax(logits)[label]             correct
``binary_cross_entropy``     sigmoid  log(1 + exp(-logit)) or of +logit       correct
``squared_error``            value    (value - target)^2                      squares, absolutes
``huber``                    value    its square near 0, a line beyond        squares, absolutes
``gaussian_nll``             gaussian -log N(target; value, variance)         squares, absolutes
``quantile``                 quantile pinball loss, mean over the levels      of the middle level
============================ ======== ======================================= ====================

The head says how many outputs the network has, and what they mean in a prediction: see ``nn.heads``.

``gaussian_nll``: Nix and Weigend (1994), "Estimating the mean and variance of the target probability distribution".
``huber``: Huber (1964), "Robust estimation of a location parameter". ``quantile``: Koenker and Bassett (1978),
"Regression quantiles". Label smoothing: Szegedy et al. (2016), "Rethinking the Inception architecture for computer
vision".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from dropout_service.kernels.training import losses as kernels
from dropout_service.nn import heads

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from dropout_service.nn.heads import Head

__all__ = ["LOSSES", "UNWEIGHTED", "Loss", "LossOptions", "make_loss"]

UNWEIGHTED: Final[NDArray[np.float64]] = np.zeros(0)
"""Weights of rows that all count the same."""


@dataclass(frozen=True, slots=True)
class LossOptions:
    """What a loss may be told; each looks at its own.

    Parameters
    ----------
    label_smoothing
        Part of a class that is shared out among all classes, in [0, 1).
    huber_delta
        Absolute error beyond which the loss is a line, above 0.
    quantiles
        Levels in (0, 1), rising.
    targets
        Of a regression: how many.
    """

    label_smoothing: float = 0.0
    huber_delta: float = 1.0
    quantiles: tuple[float, ...] = (0.1, 0.5, 0.9)
    targets: int = 1


@dataclass(frozen=True, slots=True)
class Loss:
    """A loss: the head whose outputs it takes, and the kernel that computes it with its gradient.

    Parameters
    ----------
    head
        What the outputs mean.
    kernel
        ``kernel(outputs, targets, grad, sums, weights, *options)``, see ``kernels.training.losses``.
    options
        What the kernel is told beside the arrays.
    """

    head: Head
    kernel: Callable[..., None]
    options: tuple[Any, ...] = ()

    @property
    def sums(self) -> NDArray[np.float64]:
        """New sums, all 0, as a call adds to."""
        return np.zeros(1 + 2 * self.head.targets)

    @property
    def task(self) -> Literal["classification", "regression"]:
        """What kind of target it is for."""
        return self.head.task

    @property
    def outputs(self) -> int | None:
        """Units of the output layer; ``None``: one for each class."""
        return self.head.units

    def __call__(
        self,
        outputs: NDArray[np.floating],
        targets: NDArray[Any],
        grad: NDArray[np.floating],
        sums: NDArray[np.float64],
        weights: NDArray[np.float64] = UNWEIGHTED,
    ) -> None:
        """Write the gradient of the mean loss into ``grad`` and add the sums over the rows to ``sums``.

        Parameters
        ----------
        outputs
            What the network gave, shape (rows, outputs).
        targets
            Class indices (int64), shape (rows,), or values (the dtype of ``outputs``), shape (rows, targets).
        grad
            Receives the gradient of the mean loss by ``outputs``, same shape.
        sums
            ``float64``, 1 + 2 targets: loss, then correct rows; or loss, squared errors of each target and absolute
            ones.
        weights
            Factor of the loss of each row, float64, shape (rows,), 1 on average over all that is summed; without
            elements: all 1.

        Examples
        --------
        >>> import numpy as np
        >>> sums = np.zeros(3)
        >>> grad = np.empty((1, 1))
        >>> LOSSES["squared_error"](np.array([[3.0]]), np.array([[1.0]]), grad, sums)
        >>> grad.item(), sums[0].item()
        (4.0, 4.0)
        """
        self.kernel(outputs, targets, grad, sums, weights, *self.options)


def _quantile(options: LossOptions) -> Loss:
    head = heads.quantile_head(options.quantiles, options.targets)
    return Loss(head, kernels.pinball, (np.array(options.quantiles), head.middle))


_MAKERS: Final[Mapping[str, Callable[[LossOptions], Loss]]] = {
    "cross_entropy": lambda options: Loss(heads.SOFTMAX, kernels.softmax_cross_entropy, (options.label_smoothing,)),
    "binary_cross_entropy": lambda options: Loss(
        heads.SIGMOID, kernels.binary_cross_entropy, (options.label_smoothing,)
    ),
    "squared_error": lambda options: Loss(heads.value_head(options.targets), kernels.squared_error),
    "huber": lambda options: Loss(heads.value_head(options.targets), kernels.huber, (options.huber_delta,)),
    "gaussian_nll": lambda options: Loss(heads.gaussian_head(options.targets), kernels.gaussian_nll),
    "quantile": _quantile,
}


def make_loss(name: str, options: LossOptions) -> Loss:
    """Return a loss by its name."""
    return _MAKERS[name](options)


LOSSES: Final[Mapping[str, Loss]] = {name: make_loss(name, LossOptions()) for name in _MAKERS}
"""Every loss, with the defaults of its options."""
