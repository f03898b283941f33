"""``SharedProgram``: gradients of members that share weights, those of all members in one compiled call."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

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

__all__ = ["GROUP", "SharedProgram", "can_compile_members"]

GROUP: Final = 8
"""Members whose gradients are added up one after another, and so by one thread."""


def can_compile_members(network: SharedNetwork) -> bool:
    """Whether what differs between members can be compiled: a function of the layers alone, see ``can_compile``."""
    return can_compile(network.plain, begin=network.begin)


class _Worker:
    """What a thread computes in: the layout of the plain network, and its parameters with their gradients."""

    def __init__(self, network: SharedNetwork, rows: int) -> None:
        self.layout = Layout(network.plain, rows, begin=network.begin, down=network.learns_below)
        self.plain = np.zeros_like(network.plain.parameters.values)
        self.plain_grads = np.zeros_like(self.plain)


class SharedProgram:
    """Gradients of the layers that differ between members; those below them go through their own passes.

    What it computes is what ``SharedNetwork.differentiate`` does, up to rounding. Members are added up in groups, and
    the groups after that, so that the bits do not depend on threads.

    Parameters
    ----------
    network
        One that `can_compile_members` takes.
    loss
        What is minimised.
    rows
        Most rows of a mini-batch.
    threads
        How many compute at most.
    """

    def __init__(self, network: SharedNetwork, loss: Loss, rows: int, *, threads: int = 1) -> None:
        self._network, self._loss = network, loss
        self._parts = _parts(network)
        self._labels, self._targets = np.zeros(0, np.int64), np.zeros((0, loss.head.targets), np.float32)
        self._number = steps.LOSSES[loss.kernel]
        self._loss_options = np.hstack([*loss.options, 0.0]).astype(np.float64)
        groups = range(0, network.members, GROUP)
        self._workers = [_Worker(network, rows) for _ in range(min(threads, len(groups)))]
        self._pool = ThreadPoolExecutor(len(self._workers)) if len(self._workers) > 1 else None
        self._totals = np.zeros((len(groups), network.plain.parameters.values.size), np.float32)
        self._sums = np.zeros((len(groups), loss.sums.size))
        self._below = np.zeros((len(groups), rows if network.learns_below else 0, network.width_below), np.float32)

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
        network, dropouts = self._network, self._workers[0].layout.dropouts
        for array in (self._totals, self._sums, self._below):
            array[:] = 0
        below = network.forward_below(x, mode)
        classes = self._loss.task == "classification"
        labels, targets = (y, self._targets) if classes else (self._labels, y)
        thresholds = np.array([one.threshold for one in dropouts], np.int64)
        scales = np.array([one.scale for one in dropouts], np.float64)
        seeds = np.array([member_seed(mode.seed, member) for member in range(network.members)])

        def compute(number: int) -> None:
            worker = self._workers[number]
            layout = worker.layout
            for group in range(number, len(self._sums), len(self._workers)):
                first = group * GROUP
                members.differentiate(
                    layout.table,
                    layout.lists,
                    layout.places,
                    below,
                    labels,
                    targets,
                    weights,
                    self._parts,
                    network.parameters.values,
                    network.parameters.grads,
                    self._totals[group],
                    worker.plain,
                    worker.plain_grads,
                    network.buffers.values,
                    layout.work,
                    layout.lanes,
                    layout.room,
                    self._sums[group],
                    self._number,
                    self._loss_options,
                    thresholds,
                    scales,
                    first,
                    seeds[first : first + GROUP],
                    mode.step,
                    self._below[group, : len(x)],
                )

        deque((map if self._pool is None else self._pool.map)(compute, range(len(self._workers))), maxlen=0)
        sums += self._sums.sum(axis=0)
        for part in self._parts[self._parts[:, Part.WHOSE] != Whose.OWN]:
            size, plain, shared = part[Part.ROWS] * part[Part.COLUMNS], part[Part.PLAIN], part[Part.SHARED]
            grad = network.parameters.grads[shared : shared + size]
            self._totals[:, plain : plain + size].sum(axis=0, out=grad)
        network.backward_below(self._below[:, : len(x)].sum(axis=0))


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
