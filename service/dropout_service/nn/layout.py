"""``Layout``: a network laid out for compiled passes, its layers as rows of a table and its arrays in one vector."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from dropout_service.kernels.codegen.keystream import GROUP_ELEMENTS, GROUP_LANES
from dropout_service.kernels.training.products import ROOM_BYTES
from dropout_service.kernels.training.program import NARROW
from dropout_service.kernels.training.table import FIELDS, Field, Kind
from dropout_service.nn.layers.dropout import Dropout
from dropout_service.nn.mode import Mode

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dropout_service.nn.network import Network

__all__ = ["LARGEST_WEIGHT", "Layout", "can_compile"]

LARGEST_WEIGHT: Final = 1 << 18
"""Elements of a matrix up to which compiled products are about as fast as those of a BLAS library, or faster."""


def can_compile(network: Network, *, begin: int = 0) -> bool:
    """Whether the passes of a network, from a layer on, can be compiled calls: a function of its layers alone.

    It is no question of the machine, so that a training that is resumed elsewhere goes on as it began.
    """
    layers = network.layers[begin:]
    shapes = (shape for layer in layers for shape in layer.shapes.values())
    small = all(math.prod(shape) <= LARGEST_WEIGHT for shape in shapes)
    return small and network.parameters.values.dtype == np.float32 and all(layer.compiled() for layer in layers)


class Layout:
    """The table of a network's layers and the space that their passes need, see `kernels.training.program`.

    Parameters
    ----------
    network
        One that `can_compile` takes.
    rows
        Most rows of a pass.
    begin
        Number of the first layer to lay out.
    down
        Whether the gradient by the input of that layer is wanted: a row that does nothing then comes before it.
    """

    def __init__(self, network: Network, rows: int, *, begin: int = 0, down: bool = False) -> None:
        layers = network.layers[begin:]
        self.dropouts = [layer.dropout for layer in layers if isinstance(layer.dropout, Dropout)]
        self.table, self.lists, lowest, lanes, values = _laid_out(network, rows, begin=begin, down=down)
        inputs = int(self.table[0, Field.INPUTS])
        widest = max(inputs, *self.table[:, Field.UNITS].tolist())
        dense = self.table[self.table[:, Field.KIND] == Kind.DENSE]
        weights = dense[:, Field.INPUTS] * dense[:, Field.UNITS]
        narrow = rows * (dense[:, Field.INPUTS] + dense[:, Field.UNITS])[dense[:, Field.UNITS] <= NARROW]
        sizes = [rows * inputs, rows * widest, rows * widest, max((*weights.tolist(), *narrow.tolist()))]
        batch, grad, other, turned = (values + sum(sizes[:i]) for i in range(4))
        # Each dense layer above the lowest writes the gradient by its input into the other of two places
        turns = np.count_nonzero(self.table[lowest + 1 :, Field.KIND] == Kind.DENSE)
        self.places = np.array([lowest, batch, grad, other, turned, other if turns % 2 else grad])
        """Number of the lowest layer with parameters, and places in ``work``: the mini-batch, the gradient by the
        outputs, that by what comes below, transposes, and where the last gradient is left."""
        self.work = np.zeros(values + sum(sizes), np.float32)
        self.lanes = np.zeros(lanes, np.uint64)
        self.room = np.zeros(ROOM_BYTES, np.uint8)
        self.doubles = np.zeros(max(rows, widest))


def _laid_out(
    network: Network, rows: int, *, begin: int, down: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64], int, int, int]:
    """Return the table of a network with its lists, its lowest row with parameters, and the sizes of draws and values.

    The sizes are of mini-batches of so many ``rows``.
    """
    described = [
        (number, row) for number in range(begin, len(network.layers)) for row in network.layers[number].compiled()
    ]
    table = np.zeros((down + len(described), FIELDS), np.int64)
    places = network.parameters.offsets | network.buffers.offsets
    lists: list[int] = []
    lanes = values = dropped = 0
    if down:
        units = network.layers[begin - 1].units
        table[0, [Field.KIND, Field.INPUTS, Field.UNITS, Field.DROPOUT]] = Kind.DROPOUT, units, units, -1
        values = rows * units
    for row, (number, one) in zip(table[down:], described, strict=True):
        layer = network.layers[number]
        for field, value in one.fields.items():
            row[field] = value
        for field, name in one.arrays.items():
            row[field] = places[f"layers.{number}.{name}"]
        row[Field.LIST] = len(lists)
        lists += one.columns
        row[Field.STREAM] = Mode.training(0, 0).offset(number)
        row[Field.DROPOUT] = -1
        if isinstance(layer.dropout, Dropout):
            row[Field.DROPOUT], dropped = dropped, dropped + 1
            row[Field.LANES] = lanes
            lanes += -(-rows * layer.units // GROUP_ELEMENTS) * GROUP_LANES
        units = int(row[Field.UNITS])
        inner = int(row[Field.INPUTS] * row[Field.WIDTH]) if row[Field.KIND] == Kind.PIECEWISE_LINEAR else units
        for field, columns in ((Field.VALUE, units), (Field.DERIVATIVE, units), (Field.INNER, inner)):
            row[field] = values
            values += rows * columns
    lowest = 0 if down else next(i for i, (_, one) in enumerate(described) if Field.WEIGHT in one.arrays)
    return table, np.array(lists, np.int64), lowest, lanes, values
