"""Weights that members share: TabM, an ensemble in one set of parameters.

Gorishniy, Kotelnikov and Babenko (2025), "TabM: advancing tabular deep learning with parameter-efficient ensembling",
which refines Wen, Tran and Ba (2020), "BatchEnsemble: an alternative approach to efficient ensemble and lifelong
learning".

A dense layer of member k computes s_k * (W (r_k * x)) + b_k. That is the plain layer with the weight
diag(r_k) W diag(s_k): each member is a plain network, the one that `Sharing.fold` writes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dropout_service.nn.layers.dense import Dense
from dropout_service.nn.network import parameter_shapes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from dropout_service.nn.layers.base import Layer

    Floats = NDArray[np.floating]

__all__ = ["Sharing", "adapters"]


def adapters(weight: str) -> tuple[str, str]:
    """Return the names of the adapters of a weight that is shared: of its inputs and of its units."""
    layer = weight.removesuffix("weight")
    return f"{layer}input_adapter", f"{layer}output_adapter"


class Sharing:
    """Which parameters of a network its members share, and what network each of them is.

    ============================ ========== =================================================
    parameters of                shared     of each member
    ============================ ========== =================================================
    layers before the first      all
    dense one, learned rates
    hidden dense layers          ``weight`` ``input_adapter``, ``output_adapter``, ``bias``
    all other layers                        all
    ============================ ========== =================================================

    What is a vector in the plain network, and adapters, are one vector of all members, one after another, and so feel
    no weight decay; a matrix has an axis of members before its own.

    Parameters
    ----------
    layers
        The plain network, with a hidden dense layer.
    members
        How many.
    """

    def __init__(self, layers: Sequence[Layer], members: int) -> None:
        self.members = members
        hidden = [number for number, layer in enumerate(layers[:-1]) if isinstance(layer, Dense)]
        self.first = hidden[0]
        """Number of the first dense layer."""
        self.adapted = tuple(f"layers.{number}.weight" for number in hidden)
        plain = parameter_shapes(layers)
        dropouts = ((number, layer.dropout) for number, layer in enumerate(layers) if layer.dropout is not None)
        rates = {f"layers.{number}.{name}" for number, dropout in dropouts for name in dropout.shapes}
        common = {*parameter_shapes(layers[: self.first]), *rates}
        self.common = tuple(name for name in plain if name in common)
        self.own = tuple(name for name in plain if name not in {*common, *self.adapted})
        self.shapes: dict[str, tuple[int, ...]] = {}
        """Shapes of all parameters by name."""
        for name, shape in plain.items():
            of_all = (members * shape[0],) if len(shape) == 1 else (members, *shape)
            self.shapes[name] = of_all if name in self.own else shape
            if name in self.adapted:
                sizes = zip(adapters(name), shape, strict=True)
                self.shapes |= {adapter: (members * size,) for adapter, size in sizes}

    def by_member(self, array: Floats) -> Floats:
        """Return adapters, or what else members have of their own, with an axis of members first."""
        return array.reshape(self.members, -1) if array.ndim == 1 else array

    def fold(self, values: Mapping[str, Floats], member: int, plain: Mapping[str, Floats]) -> None:
        """Write the parameters of the plain network that a member is.

        Parameters
        ----------
        values
            All parameters, of ``shapes``.
        member
            Its number.
        plain
            Receives those of the plain network.
        """
        self.fold_common(values, plain)
        self.fold_own(values, member, plain)

    def fold_common(self, values: Mapping[str, Floats], plain: Mapping[str, Floats]) -> None:
        """Write what is the same in all members, see ``fold``."""
        for name in self.common:
            np.copyto(plain[name], values[name])

    def fold_own(self, values: Mapping[str, Floats], member: int, plain: Mapping[str, Floats]) -> None:
        """Write what differs from member to member, see ``fold``."""
        for name in self.own:
            np.copyto(plain[name], self.by_member(values[name])[member])
        for name in self.adapted:
            inputs, units = (self.by_member(values[adapter])[member] for adapter in adapters(name))
            weight = np.multiply(values[name], units, out=plain[name])
            weight *= inputs[:, np.newaxis]

    def unfold_own(
        self,
        values: Mapping[str, Floats],
        member: int,
        plain: Mapping[str, Floats],
        plain_grads: Mapping[str, Floats],
        grads: Mapping[str, Floats],
    ) -> None:
        """Take the gradients by what ``fold_own`` wrote back to the parameters that it was written from.

        Parameters
        ----------
        values, member
            As for ``fold_own``.
        plain, plain_grads
            The parameters of the plain network, whose shared weights are overwritten, and the gradients by them, which
            are overwritten likewise.
        grads
            Gradients by ``values``: that by a shared weight is added to, the others are written.
        """
        for name in self.own:
            np.copyto(self.by_member(grads[name])[member], plain_grads[name])
        for name in self.adapted:
            inputs, units = (self.by_member(values[adapter])[member] for adapter in adapters(name))
            by_inputs, by_units = (self.by_member(grads[adapter])[member] for adapter in adapters(name))
            grad = plain_grads[name]
            products = np.multiply(grad, values[name], out=plain[name])
            np.matmul(products, units, out=by_inputs)
            np.matmul(inputs, products, out=by_units)
            grad *= units
            grad *= inputs[:, np.newaxis]
            total = grads[name]
            total += grad
