"""Steps of a training as one compiled call: mini-batch, passes, loss and optimizer, without Python in between."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dropout_service.kernels.codegen.compile_cache import jit, warms
from dropout_service.kernels.training import losses
from dropout_service.kernels.training.optimizer_steps import adam_step, max_norm, sgd_step
from dropout_service.kernels.training.products import ROOM_BYTES, sum_of_squares
from dropout_service.kernels.training.program import backward, forward
from dropout_service.kernels.training.table import FIELDS, Field, Kind
from dropout_service.kernels.training.views import address, doubles, integers, matrix

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Doubles = NDArray[np.float64]
    Integers = NDArray[np.int64]

__all__ = ["ADAM", "LOSSES", "SGD", "lose", "take_steps"]

SGD: Final = 0
ADAM: Final = 1

LOSSES: Final = {
    losses.softmax_cross_entropy: 0,
    losses.binary_cross_entropy: 1,
    losses.squared_error: 2,
    losses.huber: 3,
    losses.gaussian_nll: 4,
    losses.pinball: 5,
}
"""Numbers of the losses."""
_SOFTMAX: Final = 0
_SIGMOID: Final = 1
_SQUARED: Final = 2
_HUBER: Final = 3
_GAUSSIAN: Final = 4

_BYTES: Final = 4
_KIND: Final = int(Field.KIND)
_INPUTS: Final = int(Field.INPUTS)
_UNITS: Final = int(Field.UNITS)
_WEIGHT: Final = int(Field.WEIGHT)
_VALUE: Final = int(Field.VALUE)
_DENSE: Final = int(Kind.DENSE)


@jit
def _gather(x: Floats, order: Integers, out: Floats) -> None:
    for i in range(order.size):
        source = order[i]
        for j in range(x.shape[1]):
            out[i, j] = x[source, j]


@jit
def _weights_of(weights: Doubles, order: Integers, out: Doubles) -> Doubles:
    """Return the weights of a mini-batch, without elements where there are none."""
    count = order.size if weights.size > 0 else 0
    for i in range(count):
        out[i] = weights[order[i]]
    return doubles(out, 0, count)


@jit
def _move(  # noqa: PLR0917 - a compiled kernel takes its arguments by position
    table: Integers,
    params: Floats,
    grads: Floats,
    first: Floats,
    second: Floats,
    decayed: int,
    optimizer: int,
    options: Doubles,
    learning_rate: float,
    step: int,
    norm: float,
    squares: Doubles,
) -> None:
    """Take the optimizer's step, then bound the norms; ``options`` as in `take_steps`."""
    clip, bound = options[0], options[1]
    grad_scale = clip / norm if 0.0 < clip < norm else 1.0
    if optimizer == ADAM:
        adam_step(
            params,
            grads,
            first,
            second,
            decayed,
            grad_scale,
            learning_rate,
            options[2],
            options[3],
            options[4],
            options[5],
            options[6],
            step + 1,
        )
    else:
        sgd_step(params, grads, first, decayed, grad_scale, learning_rate, options[2], options[5], options[3] > 0)
    if bound > 0:
        for number in range(table.shape[0] - 1):
            row = integers(table, number * FIELDS, FIELDS)
            if row[_KIND] == _DENSE:
                weight = matrix(address(params) + _BYTES * row[_WEIGHT], row[_INPUTS], row[_UNITS])
                max_norm(weight, bound, squares[: row[_UNITS]])


@jit
def lose(  # noqa: PLR0917 - as above
    loss: int,
    options: Doubles,
    outputs: Floats,
    labels: Integers,
    values: Floats,
    grad: Floats,
    sums: Doubles,
    weights: Doubles,
) -> None:
    """Write the gradient of a loss by its number, and add to the sums."""
    if loss == _SOFTMAX:
        losses.softmax_cross_entropy(outputs, labels, grad, sums, weights, options[0])
    elif loss == _SIGMOID:
        losses.binary_cross_entropy(outputs, labels, grad, sums, weights, options[0])
    elif loss == _SQUARED:
        losses.squared_error(outputs, values, grad, sums, weights)
    elif loss == _HUBER:
        losses.huber(outputs, values, grad, sums, weights, options[0])
    elif loss == _GAUSSIAN:
        losses.gaussian_nll(outputs, values, grad, sums, weights)
    else:
        losses.pinball(outputs, values, grad, sums, weights, options[:-2], int(options[-2]))


@jit
def take_steps(  # noqa: PLR0917 - as above
    table: Integers,
    lists: Integers,
    places: Integers,
    x: Floats,
    labels: Integers,
    values: Floats,
    weights: Doubles,
    order: Integers,
    batch_rows: int,
    params: Floats,
    grads: Floats,
    first: Floats,
    second: Floats,
    buffers: Floats,
    work: Floats,
    lanes: NDArray[np.uint64],
    room: NDArray[np.uint8],
    factors: Doubles,
    batch_labels: Integers,
    batch_values: Floats,
    sums: Doubles,
    loss: int,
    loss_options: Doubles,
    optimizer: int,
    options: Doubles,
    learning_rates: Doubles,
    thresholds: Integers,
    scales: Doubles,
    decayed: int,
    seed: int,
    step: int,
) -> int:
    """Take steps of a training; return how many were taken before one whose loss or gradient is not finite.

    Parameters
    ----------
    table, lists
        The network, see `program`.
    places
        Its lowest layer with parameters, and offsets in ``work``: mini-batch, gradient, another one, and transposes.
    x, weights
        Training rows: float32 (rows, inputs), and factors of their losses or no elements.
    labels, values
        Their targets: class indices (rows,), or float32 (rows, targets); the other has no rows.
    order
        Rows of the mini-batches, one after another; the last may have fewer than ``batch_rows``.
    params, grads, first, second
        Parameters, gradients, and what the optimizer keeps: float32, (parameters,); SGD has no ``second``.
    buffers
        Buffers of the layers.
    work, lanes, room, factors, batch_labels, batch_values
        Scratch space of the sizes that `nn.program` computes.
    sums
        What the loss adds to.
    loss, loss_options
        A number of `LOSSES`; its label smoothing, or the delta of Huber's, or the levels of quantiles and the place of
        the middle one. A last element is not looked at.
    optimizer, options
        `SGD` or `ADAM`; bounds of the gradient's norm and of the units' (0: none), momentum or beta1, Nesterov or
        beta2, epsilon, weight decay as L2, and decoupled.
    learning_rates, thresholds, scales
        For each step; of each dropout, (steps, dropouts).
    decayed
        Parameters that feel weight decay.
    seed, step
        Of the masks; the number of the first step, from 0.
    """
    inputs, space = x.shape[1], address(work)
    last = integers(table, (table.shape[0] - 1) * FIELDS, FIELDS)
    for taken in range(learning_rates.size):
        begin = taken * batch_rows
        rows = min(batch_rows, order.size - begin)
        chosen = integers(order, begin, rows)
        batch = matrix(space + _BYTES * places[1], rows, inputs)
        _gather(x, chosen, batch)
        if values.shape[0] > 0:
            _gather(values, chosen, batch_values)
        else:
            for i in range(rows):
                batch_labels[i] = labels[chosen[i]]
        drawn = scales.shape[1]
        noise, gains = integers(thresholds, taken * drawn, drawn), doubles(scales, taken * drawn, drawn)
        forward(table, lists, batch, params, buffers, work, lanes, room, noise, gains, places[4], seed, step + taken)
        outputs = matrix(space + _BYTES * last[_VALUE], rows, last[_UNITS])
        grad = matrix(space + _BYTES * places[2], rows, last[_UNITS])
        own_labels = integers(batch_labels, 0, rows)
        own_values = matrix(address(batch_values), rows, batch_values.shape[1])
        lose(loss, loss_options, outputs, own_labels, own_values, grad, sums, _weights_of(weights, chosen, factors))
        backward(table, lists, batch, params, grads, work, lanes, room, noise, gains, places)
        norm = math.sqrt(sum_of_squares(grads))
        if not (math.isfinite(sums[0]) and math.isfinite(norm)):
            return taken
        rate, number = learning_rates[taken], step + taken
        _move(table, params, grads, first, second, decayed, optimizer, options, rate, number, norm, factors)
    return learning_rates.size


@warms
def _warm() -> None:
    """Train a network of a single unit for one step of each kind of target."""
    table = np.zeros((1, FIELDS), np.int64)
    table[0, Field.INPUTS] = table[0, Field.UNITS] = table[0, Field.BIAS] = 1
    table[0, Field.DROPOUT] = -1
    places, order = np.arange(5), np.zeros(1, np.int64)
    x, labels, weights, sums = np.zeros((1, 1), np.float32), np.zeros(1, np.int64), np.empty(0), np.zeros(3)
    vectors = [np.zeros(2, np.float32) for _ in range(5)]
    space = (np.zeros(8, np.float32), np.zeros(16, np.uint64), np.zeros(ROOM_BYTES, np.uint8), np.zeros(1))
    rates = (np.zeros(1), np.zeros((1, 0), np.int64), np.zeros((1, 0)))
    asked = (sums, 2, np.zeros(2), ADAM, np.zeros(7), *rates, 1, 0, 0)
    targets = (labels.copy(), x.copy())
    arguments: Any = (
        table,
        np.zeros(0, np.int64),
        places,
        x,
        labels,
        x,
        weights,
        order,
        1,
        *vectors,
        *space,
        *targets,
        *asked,
    )
    take_steps(*arguments)
