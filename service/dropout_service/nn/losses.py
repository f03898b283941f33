"""The table of losses.

============================ ======== ======================================= ====================
name                         head     loss of a row                           metric sums
============================ ======== ======================================= ====================
``cross_entropy``            softmax  -log softmax(logits)[label]             correct
``binary_cross_entropy``     sigmoid  log(1 + exp(-logit)) or of +logit       correct
``squared_error``            value    (value - target)^2                      squares, absolutes
``gaussian_nll``             gaussian -log N(target; value, variance)         squares, absolutes
============================ ======== ======================================= ====================

The head says how many outputs the network has, and what they mean in a prediction: see ``nn.heads``.

``gaussian_nll``: Nix and Weigend (1994), "Estimating the mean and variance of the target probability distribution".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from dropout_service.kernels.training import losses as kernels
from dropout_service.nn import heads

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from dropout_service.nn.heads import Head

__all__ = ["LOSSES", "Loss"]


@dataclass(frozen=True, slots=True)
class Loss:
    """A loss: the head whose outputs it takes, and the kernel that computes it with its gradient.

    Parameters
    ----------
    head
        What the outputs mean.
    kernel
        ``kernel(outputs, targets, grad, sums)``, see ``kernels.training.losses``.
    """

    head: Head
    kernel: Callable[..., None]

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
    "cross_entropy": Loss(heads.SOFTMAX, kernels.softmax_cross_entropy),
    "binary_cross_entropy": Loss(heads.SIGMOID, kernels.binary_cross_entropy),
    "squared_error": Loss(heads.VALUE, kernels.squared_error),
    "gaussian_nll": Loss(heads.GAUSSIAN, kernels.gaussian_nll),
}
