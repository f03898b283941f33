"""The table of losses.

============================ ======================== ======================================= ====================
name                         outputs of the network   loss of a row                           metric sums
============================ ======================== ======================================= ====================
``cross_entropy``            one logit a class        -log softmax(logits)[label]             correct
``binary_cross_entropy``     the logit of class 1     log(1 + exp(-logit)) or of +logit       correct
``squared_error``            the value                (value - target)^2                      squares, absolutes
``gaussian_nll``             value and log-variance   -log N(target; value, variance)         squares, absolutes
============================ ======================== ======================================= ====================

``gaussian_nll``: Nix and Weigend (1994), "Estimating the mean and variance of the target probability distribution".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from dropout_service.kernels.training import losses as kernels

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["LOSSES", "Loss"]


@dataclass(frozen=True, slots=True)
class Loss:
    """A loss: how many outputs it wants, and the kernel that computes it with its gradient.

    Parameters
    ----------
    task
        What kind of target it is for.
    outputs
        Units of the output layer; ``None``: one for each class.
    kernel
        ``kernel(outputs, targets, grad, sums)``, see ``kernels.losses``.
    """

    task: Literal["classification", "regression"]
    outputs: int | None
    kernel: Callable[..., None]

    def __call__(
        self,
        outputs: NDArray[np.floating],
        targets: NDArray[Any],
        grad: NDArray[np.floating],
        sums: NDArray[np.float64],
    ) -> None:
        """Write the gradient of the mean loss into ``grad`` and add the sums over the rows to ``sums``.

        Parameters
        ----------
        outputs
            What the network gave, shape (rows, outputs).
        targets
            Class indices (int64) or values (the dtype of ``outputs``), shape (rows,).
        grad
            Receives the gradient of the mean loss by ``outputs``, same shape.
        sums
            ``float64``, three elements: loss, then correct rows; or loss, squared and absolute errors.

        Examples
        --------
        >>> import numpy as np
        >>> sums = np.zeros(3)
        >>> grad = np.empty((1, 1))
        >>> LOSSES["squared_error"](np.array([[3.0]]), np.array([1.0]), grad, sums)
        >>> grad.item(), sums[0].item()
        (4.0, 4.0)
        """
        self.kernel(outputs, targets, grad, sums)


LOSSES: dict[str, Loss] = {
    "cross_entropy": Loss("classification", None, kernels.softmax_cross_entropy),
    "binary_cross_entropy": Loss("classification", 1, kernels.binary_cross_entropy),
    "squared_error": Loss("regression", 1, kernels.squared_error),
    "gaussian_nll": Loss("regression", 2, kernels.gaussian_nll),
}
