"""``SharedNetwork``: an ensemble whose members share weights, as one network to train."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from dropout_service.kernels.streams import Purpose, bits, normal, stream
from dropout_service.nn.layers.base import Rows
from dropout_service.nn.layers.dense import Dense
from dropout_service.nn.mode import member_seed
from dropout_service.nn.network import Network, parameter_shapes
from dropout_service.nn.parameter_vector import ParameterVector
from dropout_service.nn.sharing import Sharing, adapters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import DTypeLike, NDArray

    from dropout_service.nn.layers.base import Layer
    from dropout_service.nn.mode import Mode

    Floats = NDArray[np.floating]

__all__ = ["SharedNetwork"]

_ADAPTER_STEP: Final = 3
"""Of the stream of the first adapters: 0 is the weight's, those between are of embeddings."""


class SharedNetwork:
    """Members that share weights, see ``Sharing``.

    The members take turns as one plain network, so that the activations of one member are all that is kept. What comes
    before all that is dense or random is the same for all members, and is computed once.

    Parameters
    ----------
    layers
        The plain network, with a hidden dense layer.
    members
        How many.
    dtype
        ``float32``, or ``float64`` for gradient checks; the layers must have the same.
    """

    def __init__(self, layers: Sequence[Layer], members: int, dtype: DTypeLike = np.float32) -> None:
        self.sharing = Sharing(layers, members)
        self.plain = Network(layers, dtype)
        """The plain network; its parameters are those of the member whose turn it was last."""
        self.layers = self.plain.layers
        self.buffers = self.plain.buffers
        self.parameters = ParameterVector(self.sharing.shapes, dtype)
        self._values = self.parameters.views()
        self._grads = self.parameters.views(self.parameters.grads)
        self._folded = self.plain.parameters.views()
        self._folded_grads = self.plain.parameters.views(self.plain.parameters.grads)
        differ = (layer.dropout is not None or isinstance(layer, Dense) for layer in layers)
        self.begin = next(number for number, differs in enumerate(differ) if differs)
        """Number of the first layer that is not the same for all members."""
        below = parameter_shapes(layers[: self.begin])
        self._common_below = [name for name in self.sharing.common if name in below]
        self.common_above = [name for name in self.sharing.common if name not in below]
        """Names of parameters that all members have in common, in layers that are not the same for all."""
        self.width_below = layers[self.begin - 1].units if self.begin else 0
        """Columns of what is the same for all members; 0 where nothing but the rows is."""
        self._grad_below = Rows(self.width_below, dtype)

    @property
    def members(self) -> int:
        """How many members it has."""
        return self.sharing.members

    @property
    def learns_below(self) -> bool:
        """Whether what is the same for all members has parameters."""
        return bool(self._common_below)

    @property
    def codes(self) -> tuple[int, ...]:
        """Columns of the input that hold codes, see ``Network.codes``."""
        return self.plain.codes

    def find_fault(self, x: NDArray[np.floating]) -> tuple[int, int, str] | None:
        """Return the first value that the network cannot take, see ``Network.find_fault``."""
        return self.plain.find_fault(x)

    def fit(self, x: Floats, rows: NDArray[np.intp] | None = None) -> None:
        """Let a layer take what it has to know of all training rows, see ``Network.fit``."""
        self.plain.fit(x, rows)

    def initialize(self, initializer: str, *, seed: int) -> None:
        """Write the initial parameters and buffers.

        Shared weights and vectors are those of the plain network of that seed; matrices that each member has for
        itself, such as that of the output layer, have the member's seed. Adapters are 1, but those of the inputs of
        the first dense layer: they are +1 or -1, or behind embeddings of numbers N(0, 1), as in the paper.

        Parameters
        ----------
        initializer
            As for ``Network.initialize``.
        seed
            Of the first member.
        """
        sharing, values = self.sharing, self._values
        self.plain.initialize(initializer, seed=seed)
        for name in (*sharing.common, *sharing.adapted):
            np.copyto(values[name], self._folded[name])
        matrices = [name for name in sharing.own if self._folded[name].ndim > 1]
        for member in range(self.members):
            for number in sorted({int(name.split(".")[1]) for name in matrices}):
                self.layers[number].initialize(initializer, seed=member_seed(seed, member), number=number)
            for name in sharing.own:
                sharing.by_member(values[name])[member] = self._folded[name]
        for name in sharing.adapted:
            for adapter in adapters(name):
                values[adapter][:] = 1
        first, _ = adapters(sharing.adapted[0])
        offset = stream(Purpose.INIT, layer=sharing.first, step=_ADAPTER_STEP)
        size = values[first].size
        if any(layer.embeds_numbers for layer in self.layers[: sharing.first]):
            values[first][:] = normal(size, seed=seed, offset=offset)
        else:
            values[first][:] = 1 - 2 * (bits(size, seed=seed, offset=offset) & np.uint64(1)).astype(np.int64)

    def __iter__(self) -> Iterator[Network]:
        """Yield the plain network as each member in turn, lent until the next."""
        self.sharing.fold_common(self._values, self._folded)
        for member in range(self.members):
            self.sharing.fold_own(self._values, member, self._folded)
            yield self.plain

    def outputs(self, x: Floats) -> Iterator[Floats]:
        """Yield the outputs of each member in evaluation, shape (rows, outputs), each lent until the next.

        Parameters
        ----------
        x
            As for ``Network.forward``.
        """
        self.sharing.fold_common(self._values, self._folded)
        below = self.plain.forward(x, end=self.begin)
        for plain in self:
            yield plain.forward(below, begin=self.begin)

    def differentiate(self, x: Floats, mode: Mode, lose: Callable[[Floats], Floats], *, rows: int) -> None:
        """Write the gradients of the mean of the members' losses, with the penalties of learned rates.

        Parameters
        ----------
        x
            A mini-batch, which all members see, as for ``Network.forward``.
        mode
            That of the first member; the others draw by their own seeds, see ``member_seed``.
        lose
            Takes the outputs of a member and returns the gradient of its loss by them, which is overwritten.
        rows
            Rows of the training part.
        """
        sharing, plain, begin = self.sharing, self.plain, self.begin
        self.parameters.grads[:] = 0
        grad_below = self._grad_below.first(len(x))
        grad_below[:] = 0
        below = self.forward_below(x, mode)
        for member in range(self.members):
            sharing.fold_own(self._values, member, self._folded)
            own = mode.of_member(member)
            grad = plain.backward(lose(plain.forward(below, own, differentiable=True, begin=begin)), begin=begin)
            if grad is not None:
                grad_below += grad
            plain.regularize(rows)
            sharing.unfold_own(self._values, member, self._folded, self._folded_grads, self._grads)
            for name in self.common_above:
                self._grads[name] += self._folded_grads[name]
        self.backward_below(grad_below)

    def forward_below(self, x: Floats, mode: Mode) -> Floats:
        """Return what all members read of a mini-batch, lent until the next; it is kept for ``backward_below``."""
        self.sharing.fold_common(self._values, self._folded)
        return self.plain.forward(x, mode, differentiable=True, end=self.begin)

    def backward_below(self, grad: Floats) -> None:
        """Write the gradients of what is below, and make all of sums over the members means.

        Parameters
        ----------
        grad
            The sum of the gradients by what ``forward_below`` returned; overwritten.
        """
        self.plain.backward(grad, end=self.begin)
        for name in self._common_below:
            np.copyto(self._grads[name], self._folded_grads[name])
        self.parameters.grads *= 1 / self.members
