"""``SharedProgram``: gradients of members that share weights, those of all members in one compiled call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dropout_service.kernels.training import members, steps
from dropout_service.kernels.training.members import PARTS, Part, Whose
from dropout_service.nn.layout import Layout, can_compile
from dropout_service.nn.mode import member_seed
from dropout_service.nn.sharing import adapters

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dropout_service.nn.losses import Loss
    from dropout_service.nn.mode import Mode
    from dropout_service.nn.shared_network import SharedNetwork

__all__ = ["SharedProgram", "can_compile_members"]


def can_compile_members(network: SharedNetwork) -> bool:
    """Whether what differs between members can be compiled: a function of the layers alone, see ``can_compile``."""
    return can_compile(network.plain, begin=network.begin)


class SharedProgram:
    """Gradients of the layers that differ between members; those below them go through their own passes.

    What it computes is what ``SharedNetwork.differentiate`` does, up to rounding.

    Parameters
    ----------
    network
        One that `can_compile_members` takes.
    loss
        What is minimised.
    rows
        Most rows of a mini-batch.
    """

    def __init__(self, network: SharedNetwork, loss: Loss, rows: int) -> None:
        self._network, self._loss = network, loss
        self._down = network.learns_below
        self._layout = Layout(network.plain, rows, begin=network.begin, down=self._down)
        self._parts = _parts(network)
        self._labels, self._targets = np.zeros(0, np.int64), np.zeros((0, loss.head.targets), np.float32)
        self._number = steps.LOSSES[loss.kernel]
        self._loss_options = np.hstack([*loss.options, 0.0]).astype(np.float64)
        self._grad_below = np.zeros((rows if self._down else 0, network.width_below), np.float32)

    def differentiate(
        self,
        x: NDArray[np.float32],
        y: NDArray[Any],
        weights: NDArray[np.float64],
        mode: Mode,
        sums: NDArray[np.float64],
    ) -> None:
        """Write the gradients of the mean of the members' losses, and add the losses of all to ``sums``.

        Parameters
        ----------
        x, y, weights
            The mini-batch: features, targets, and factors of the losses or no elements.
        mode
            That of the first member.
        sums
            What the loss adds to.
        """
        network, layout = self._network, self._layout
        classes = self._loss.task == "classification"
        grad_below = self._grad_below[: len(x)]
        grad_below[:] = 0
        network.parameters.grads[:] = 0
        below = network.forward_below(x, mode)
        members.differentiate(
            layout.table,
            layout.places,
            below,
            y if classes else self._labels,
            self._targets if classes else y,
            weights,
            self._parts,
            network.parameters.values,
            network.parameters.grads,
            network.plain.parameters.values,
            network.plain.parameters.grads,
            network.buffers.values,
            layout.work,
            layout.lanes,
            layout.room,
            sums,
            self._number,
            self._loss_options,
            np.array([one.threshold for one in layout.dropouts], np.int64),
            np.array([one.scale for one in layout.dropouts], np.float64),
            np.array([member_seed(mode.seed, member) for member in range(network.members)]),
            mode.step,
            grad_below,
        )
        network.backward_below(grad_below)


def _parts(network: SharedNetwork) -> NDArray[np.int64]:
    """Return the table of the parameters that a member is folded from."""
    sharing = network.sharing
    plain, shared = network.plain.parameters.offsets, network.parameters.offsets
    shapes = {name: view.shape for name, view in network.plain.parameters.views().items()}
    whose = dict.fromkeys(sharing.own, Whose.OWN) | dict.fromkeys(network.common_above, Whose.COMMON)
    whose |= dict.fromkeys(sharing.adapted, Whose.ADAPTED)
    parts = np.zeros((len(whose), PARTS), np.int64)
    for part, (name, kind) in zip(parts, whose.items(), strict=True):
        part[Part.WHOSE] = kind
        part[Part.ROWS], part[Part.COLUMNS] = np.prod(shapes[name][:-1], dtype=np.int64), shapes[name][-1]
        part[Part.PLAIN], part[Part.SHARED] = plain[name], shared[name]
        if kind == Whose.ADAPTED:
            part[Part.INPUTS], part[Part.UNITS] = (shared[adapter] for adapter in adapters(name))
    return parts
