"""Gradients of members that share weights, one after another in one compiled call: see ``nn.sharing``."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dropout_service.kernels.codegen.compile_cache import jit, warms
from dropout_service.kernels.training.products import ROOM_BYTES, multiply, side_by_side
from dropout_service.kernels.training.program import backward, forward
from dropout_service.kernels.training.steps import lose
from dropout_service.kernels.training.table import FIELDS, Field
from dropout_service.kernels.training.views import address, integers, matrix, vector

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Doubles = NDArray[np.float64]
    Integers = NDArray[np.int64]

__all__ = ["PARTS", "Part", "Whose", "differentiate"]

_BYTES: Final = 4
_NOTHING: Final = 0
"""An address: no bias."""


class Whose(IntEnum):
    """Whose a parameter of the plain network is."""

    OWN = 0
    """Each member has it."""
    COMMON = 1
    """All members have the same."""
    ADAPTED = 2
    """All members have the same weight, and factors of its inputs and units of their own."""


class Part(IntEnum):
    """Columns of the table of parameters, one row for each of the plain network; places are numbers of elements."""

    WHOSE = 0
    ROWS = 1
    COLUMNS = 2
    """Of a matrix; a vector has one row."""
    PLAIN = 3
    """Where it is in the plain network."""
    SHARED = 4
    """Where it is in what the members share, or where that of the first member is."""
    INPUTS = 5
    UNITS = 6
    """Where the factors of the first member are."""


PARTS: Final = len(Part)

_WHOSE: Final = int(Part.WHOSE)
_ROWS: Final = int(Part.ROWS)
_COLUMNS: Final = int(Part.COLUMNS)
_PLAIN: Final = int(Part.PLAIN)
_SHARED: Final = int(Part.SHARED)
_INPUTS: Final = int(Part.INPUTS)
_UNITS: Final = int(Part.UNITS)
_OWN: Final = int(Whose.OWN)
_ADAPTED: Final = int(Whose.ADAPTED)
_LAST_UNITS: Final = int(Field.UNITS)
_LAST_VALUE: Final = int(Field.VALUE)


@jit
def _at(values: Floats, place: int) -> int:
    return address(values) + _BYTES * place


@jit
def _fold(parts: Integers, values: Floats, member: int, plain: Floats) -> None:
    """Write the parameters of the plain network that a member is."""
    for number in range(parts.shape[0]):
        part = integers(parts, number * PARTS, PARTS)
        rows, columns = part[_ROWS], part[_COLUMNS]
        if part[_WHOSE] != _ADAPTED:
            size = rows * columns
            own = part[_SHARED] + (member * size if part[_WHOSE] == _OWN else 0)
            source, target = vector(_at(values, own), size), vector(_at(plain, part[_PLAIN]), size)
            for i in range(size):
                target[i] = source[i]
            continue
        inputs = vector(_at(values, part[_INPUTS] + member * rows), rows)
        units = vector(_at(values, part[_UNITS] + member * columns), columns)
        weight = matrix(_at(values, part[_SHARED]), rows, columns)
        folded = matrix(_at(plain, part[_PLAIN]), rows, columns)
        for i in range(rows):
            for j in range(columns):
                folded[i, j] = weight[i, j] * units[j] * inputs[i]


@jit
def _unfold(  # noqa: PLR0917 - a compiled kernel takes its arguments by position
    parts: Integers,
    values: Floats,
    member: int,
    plain: Floats,
    plain_grads: Floats,
    grads: Floats,
    totals: Floats,
    room: NDArray[np.uint8],
) -> None:
    """Take the gradients of the plain network that a member is back to what it was folded from.

    Those by what is shared are added to ``totals``, the others written into ``grads``; ``plain`` is overwritten.
    """
    scratch, one = address(room), side_by_side()
    for number in range(parts.shape[0]):
        part = integers(parts, number * PARTS, PARTS)
        rows, columns = part[_ROWS], part[_COLUMNS]
        if part[_WHOSE] != _ADAPTED:
            size = rows * columns
            own = part[_WHOSE] == _OWN
            source = vector(_at(plain_grads, part[_PLAIN]), size)
            target = vector(_at(grads, part[_SHARED] + member * size) if own else _at(totals, part[_PLAIN]), size)
            for i in range(size):
                target[i] = source[i] if own else target[i] + source[i]
            continue
        inputs_at, units_at = part[_INPUTS] + member * rows, part[_UNITS] + member * columns
        inputs, units = vector(_at(values, inputs_at), rows), vector(_at(values, units_at), columns)
        weight = matrix(_at(values, part[_SHARED]), rows, columns)
        total = matrix(_at(totals, part[_PLAIN]), rows, columns)
        grad = matrix(_at(plain_grads, part[_PLAIN]), rows, columns)
        products_at = _at(plain, part[_PLAIN])
        products = matrix(products_at, rows, columns)
        for i in range(rows):
            for j in range(columns):
                products[i, j] = grad[i, j] * weight[i, j]
                total[i, j] += grad[i, j] * units[j] * inputs[i]
        wide = _BYTES * columns
        by_inputs, by_units = _at(grads, inputs_at), _at(grads, units_at)
        multiply(
            rows,
            1,
            columns,
            products_at,
            wide,
            one,
            _at(values, units_at),
            _BYTES,
            by_inputs,
            _BYTES,
            _NOTHING,
            scratch,
        )
        multiply(1, columns, rows, _at(values, inputs_at), 0, one, products_at, wide, by_units, wide, _NOTHING, scratch)


@jit
def differentiate(  # noqa: PLR0917 - as above
    table: Integers,
    lists: Integers,
    places: Integers,
    x: Floats,
    labels: Integers,
    targets: Floats,
    weights: Doubles,
    parts: Integers,
    values: Floats,
    grads: Floats,
    totals: Floats,
    plain: Floats,
    plain_grads: Floats,
    buffers: Floats,
    work: Floats,
    lanes: NDArray[np.uint64],
    room: NDArray[np.uint8],
    sums: Doubles,
    loss: int,
    loss_options: Doubles,
    thresholds: Integers,
    scales: Doubles,
    first: int,
    seeds: Integers,
    step: int,
    grad_x: Floats,
) -> None:
    """Compute the gradients of the losses of some members of a mini-batch, and add these losses to ``sums``.

    Parameters
    ----------
    table, lists, places, buffers, work, lanes, room
        The plain network, as for `steps.take_steps`; the last of ``places`` is where in ``work`` a backward pass leaves
        the gradient by ``x``.
    x, labels, targets, weights
        The mini-batch: float32 (rows, inputs); its class indices (rows,), or float32 (rows, targets); factors of the
        losses, or no elements.
    parts
        The table of the plain network's parameters, see `Part`.
    values, grads
        Parameters of all members; receives the gradients by what each has for itself. Float32.
    totals
        The gradients by what they share are added to it, where the parameters are in the plain network.
    plain, plain_grads
        Room for those of the plain network.
    sums, loss, loss_options
        As for `steps.take_steps`.
    thresholds, scales
        Of each dropout.
    first, seeds, step
        Number of the first of these members; the seeds of the masks of each, and the number of the step.
    grad_x
        The gradients by ``x`` are added to it; without rows they are not asked for.
    """
    rows, space = x.shape[0], address(work)
    last = integers(table, (table.shape[0] - 1) * FIELDS, FIELDS)
    outputs = matrix(space + _BYTES * last[_LAST_VALUE], rows, last[_LAST_UNITS])
    grad = matrix(space + _BYTES * places[2], rows, last[_LAST_UNITS])
    by_x = matrix(space + _BYTES * places[5], rows, x.shape[1])
    for number in range(seeds.size):
        member, seed = first + number, seeds[number]
        _fold(parts, values, member, plain)
        forward(table, lists, x, plain, buffers, work, lanes, room, thresholds, scales, places[4], seed, step)
        lose(loss, loss_options, outputs, labels, targets, grad, sums, weights)
        backward(table, lists, x, plain, plain_grads, work, lanes, room, thresholds, scales, places)
        _unfold(parts, values, member, plain, plain_grads, grads, totals, room)
        for i in range(grad_x.shape[0]):
            for j in range(grad_x.shape[1]):
                grad_x[i, j] += by_x[i, j]


@warms
def _warm() -> None:
    """Differentiate a member of a single unit."""
    table = np.zeros((1, FIELDS), np.int64)
    table[0, Field.INPUTS] = table[0, Field.UNITS] = table[0, Field.BIAS] = 1
    table[0, Field.DROPOUT] = -1
    x, parts, weights = np.zeros((1, 1), np.float32), np.zeros((0, PARTS), np.int64), np.empty(0)
    vectors = [np.zeros(2, np.float32) for _ in range(6)]
    space = (np.zeros(8, np.float32), np.zeros(16, np.uint64), np.zeros(ROOM_BYTES, np.uint8))
    asked = (np.zeros(3), 2, np.zeros(2), np.zeros(0, np.int64), np.zeros(0), 0, np.zeros(1, np.int64), 0)
    targets = (np.zeros(1, np.int64), x.copy())
    arguments: Any = (
        table,
        np.zeros(0, np.int64),
        np.arange(6),
        x,
        *targets,
        weights,
        parts,
        *vectors,
        *space,
        *asked,
        x.copy(),
    )
    differentiate(*arguments)
