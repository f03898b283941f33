"""A network as a table of numbers, and its passes as one compiled call.

Of a small network the arithmetic takes a fraction of the time that Python takes to ask for it. Here each layer is a row
of a table (`Field`), all arrays of a step lie in one vector (`work`), and a loop over the rows does what the layers'
own passes do, in the same order of operations within each.

A pass takes mini-batches of at most as many rows as ``work`` has been laid out for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from numba import carray, types  # pyright: ignore[reportPrivateImportUsage] - it is public, as its manual has it

from dropout_service.kernels.codegen.compile_cache import jit
from dropout_service.kernels.codegen.intrinsics import pointer_to
from dropout_service.kernels.codegen.keystream import GROUP_ELEMENTS, GROUP_LANES, fill
from dropout_service.kernels.training.activations import LINEAR, RELU, activate
from dropout_service.kernels.training.columns import add_rows, clip_lines, look_up, select
from dropout_service.kernels.training.dense import drop, drop_with_derivative, rectify_and_drop, through
from dropout_service.kernels.training.products import multiply, side_by_side
from dropout_service.kernels.training.table import FIELDS, Field, Kind
from dropout_service.kernels.training.transposes import transpose
from dropout_service.kernels.training.views import address, integers, matrix, vector

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Table = NDArray[np.int64]

__all__ = ["NARROW", "backward", "forward"]

_BYTES: Final = 4
_EIGHT: Final = 8

_KIND: Final = int(Field.KIND)
_INPUTS: Final = int(Field.INPUTS)
_UNITS: Final = int(Field.UNITS)
_WEIGHT: Final = int(Field.WEIGHT)
_BIAS: Final = int(Field.BIAS)
_ACTIVATION: Final = int(Field.ACTIVATION)
_DROPOUT: Final = int(Field.DROPOUT)
_STREAM: Final = int(Field.STREAM)
_RESIDUAL: Final = int(Field.RESIDUAL)
_WIDTH: Final = int(Field.WIDTH)
_EACH: Final = int(Field.EACH)
_BUFFER: Final = int(Field.BUFFER)
_VALUE: Final = int(Field.VALUE)
_DERIVATIVE: Final = int(Field.DERIVATIVE)
_INNER: Final = int(Field.INNER)
_LANES: Final = int(Field.LANES)
_LIST: Final = int(Field.LIST)
_DENSE: Final = int(Kind.DENSE)
_DROP: Final = int(Kind.DROPOUT)
_SELECT: Final = int(Kind.SELECT)
_COLUMNS: Final = int(Kind.COLUMNS)

_NOTHING: Final = 0
"""An address: no bias."""
NARROW: Final = 4
"""Units up to which a vector of them would be all but empty."""


_lanes_at: Final = pointer_to(types.uint64)


@jit
def _lanes_of(row: Table, rows: int, lanes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return where the draws of a layer are kept."""
    count = -(-rows * row[_UNITS] // GROUP_ELEMENTS) * GROUP_LANES
    return carray(_lanes_at(address(lanes) + _EIGHT * row[_LANES]), count)


@jit
def _copy(x: Floats, to: Floats) -> None:
    """Copy element by element: an assignment of arrays may ask for memory."""
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            to[i, j] = x[i, j]


@jit
def _add(x: Floats, to: Floats) -> None:
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            to[i, j] += x[i, j]


@jit
def _drawn(row: Table, rows: int, lanes: NDArray[np.uint64], seed: int, step: int) -> NDArray[np.uint16]:
    """Draw for ``rows`` rows of the units of a layer; kept until its next pass."""
    own = _lanes_of(row, rows, lanes)
    fill(own, 0, np.uint64(row[_STREAM]) | np.uint64(step), np.uint64(seed))
    return own.view(np.uint16)


@jit
def _respond(  # noqa: PLR0917 - a compiled kernel takes its arguments by position
    row: Table,
    rows: int,
    place: int,
    space: int,
    lanes: NDArray[np.uint64],
    threshold: int,
    scale: float,
    seed: int,
    step: int,
) -> None:
    """Activation and dropout of the values at a place, in place; the local derivative goes where the row says."""
    size = rows * row[_UNITS]
    value, derivative = vector(place, size), vector(space + _BYTES * row[_DERIVATIVE], size)
    if row[_ACTIVATION] == RELU and threshold > 0:
        rectify_and_drop(value, _drawn(row, rows, lanes, seed, step), threshold, scale, derivative)
        return
    if row[_ACTIVATION] != LINEAR or threshold > 0:
        activate(row[_ACTIVATION], value, derivative)
    if threshold > 0:
        flat, slope = matrix(place, 1, size), matrix(space + _BYTES * row[_DERIVATIVE], 1, size)
        drop_with_derivative(flat, slope, _drawn(row, rows, lanes, seed, step), threshold, scale)


@jit
def _product(row: Table, rows: int, x: int, weights: int, out: int, turned: int, scratch: int) -> None:  # noqa: PLR0917 - as above
    """Write the product of a layer's input and its weight, and add its bias."""
    weight, bias = weights + _BYTES * row[_WEIGHT], weights + _BYTES * row[_BIAS]
    inputs, units = row[_INPUTS], row[_UNITS]
    wide, deep = _BYTES * units, _BYTES * inputs
    if units > NARROW:
        multiply(rows, units, inputs, x, deep, side_by_side(), weight, wide, out, wide, bias, scratch)
        return
    # The other way round, so that vectors run along the rows: each element is the same sum, in the same order
    long = _BYTES * rows
    transpose(rows, inputs, x, deep, turned, long)
    across = turned + long * inputs
    multiply(units, rows, inputs, weight, side_by_side(), wide, turned, long, across, long, _NOTHING, scratch)
    source, target, addends = matrix(across, units, rows), matrix(out, rows, units), vector(bias, units)
    for j in range(units):
        for i in range(rows):
            target[i, j] = source[j, i] + addends[j]


@jit
def _bins(row: Table, x: Floats, weights: int, buffers: int, space: int, scratch: int) -> None:  # noqa: PLR0917 - as above
    """Write how far inputs are through their bins, and with units the products and biases of these."""
    rows, inputs, width, each = x.shape[0], row[_INPUTS], row[_WIDTH], row[_EACH]
    size = inputs * width
    inner = matrix(space + _BYTES * (row[_INNER] if each else row[_VALUE]), rows, size)
    kept = buffers + _BYTES * row[_BUFFER]
    start, slope, low, high = (
        vector(kept, size),
        vector(kept + _BYTES * size, size),
        vector(kept + _BYTES * 2 * size, size),
        vector(kept + _BYTES * 3 * size, size),
    )
    clip_lines(x, start, slope, low, high, inner)
    if each == 0:
        return
    for i in range(inputs):
        multiply(
            rows,
            each,
            width,
            space + _BYTES * (row[_INNER] + i * width),
            _BYTES * size,
            side_by_side(),
            weights + _BYTES * (row[_WEIGHT] + i * width * each),
            _BYTES * each,
            space + _BYTES * (row[_VALUE] + i * each),
            _BYTES * row[_UNITS],
            weights + _BYTES * (row[_BIAS] + i * each),
            scratch,
        )


@jit
def _beside(row: Table, lists: Table, x: Floats, before: Floats, weights: int, out: Floats) -> None:  # noqa: PLR0917 - as above
    """Write what a row ``COLUMNS`` is: ``before`` it the numbers, then columns of ``x``, then rows of the table."""
    rows, numbers, at = x.shape[0], row[_INPUTS], int(row[_LIST])
    for i in range(rows):
        for j in range(numbers):
            out[i, j] = before[i, j]
    plain = int(lists[at])
    select(x, integers(lists, at + 1, plain), numbers, out)
    codes, at = int(lists[at + 1 + plain]), at + plain + 2
    if codes > 0:
        offsets = integers(lists, at + codes, codes + 1)
        learned = matrix(weights + _BYTES * row[_WEIGHT], int(offsets[codes]), row[_EACH])
        look_up(x, integers(lists, at, codes), offsets, learned, numbers + plain, out)


@jit
def _aside(row: Table, lists: Table, x: Floats, grad: Floats, slopes: int, numbers_grad: Floats) -> None:  # noqa: PLR0917 - as above
    """Lead ``grad`` back through `_beside`: to its table, and to the numbers before it, if they are asked for."""
    for i in range(numbers_grad.shape[0]):
        for j in range(numbers_grad.shape[1]):
            numbers_grad[i, j] = grad[i, j]
    at = int(row[_LIST])
    plain = int(lists[at])
    codes, at = int(lists[at + 1 + plain]), at + plain + 2
    if codes > 0:
        offsets = integers(lists, at + codes, codes + 1)
        slope = matrix(slopes + _BYTES * row[_WEIGHT], int(offsets[codes]), row[_EACH])
        add_rows(x, integers(lists, at, codes), offsets, grad, row[_INPUTS] + plain, slope)


@jit
def forward(  # noqa: PLR0917 - as above
    table: Table,
    lists: Table,
    x: Floats,
    params: Floats,
    buffers: Floats,
    work: Floats,
    lanes: NDArray[np.uint64],
    room: NDArray[np.uint8],
    thresholds: NDArray[np.int64],
    scales: NDArray[np.float64],
    turned_at: int,
    seed: int,
    step: int,
) -> None:
    """Run the training pass of a mini-batch ``x``, (rows, inputs); outputs are the last row's value in ``work``.

    From ``turned_at`` on it has room for the transposes of a narrow layer's inputs and outputs.
    """
    rows = x.shape[0]
    at = address(x)
    values = x
    weights, space, scratch = address(params), address(work), address(room)
    turned = space + _BYTES * turned_at
    for number in range(table.shape[0]):
        row = integers(table, number * FIELDS, FIELDS)
        units, which = row[_UNITS], row[_DROPOUT]
        threshold = int(thresholds[which]) if which >= 0 else 0
        scale = float(scales[which]) if which >= 0 else 1.0
        output = matrix(space + _BYTES * row[_VALUE], rows, units)
        if row[_KIND] == _DENSE:
            place = space + _BYTES * (row[_INNER] if row[_RESIDUAL] else row[_VALUE])
            _product(row, rows, at, weights, place, turned, scratch)
            _respond(row, rows, place, space, lanes, threshold, scale, seed, step)
            if row[_RESIDUAL]:
                _copy(values, output)
                _add(matrix(place, rows, units), output)
        elif row[_KIND] == _DROP:
            if threshold > 0:
                drop(values, _drawn(row, rows, lanes, seed, step), threshold, scale, output)
            else:
                _copy(values, output)
        elif row[_KIND] == _SELECT:
            select(x, integers(lists, row[_LIST], units), 0, output)
        elif row[_KIND] == _COLUMNS:
            _beside(row, lists, x, values, weights, output)
        else:
            _bins(row, values, weights, address(buffers), space, scratch)
            if row[_EACH]:
                _respond(row, rows, space + _BYTES * row[_VALUE], space, lanes, threshold, scale, seed, step)
        values = output
        at = space + _BYTES * row[_VALUE]


@jit
def _undo_response(  # noqa: PLR0917 - as above
    row: Table, rows: int, grad: int, bias_grad: int, space: int, threshold: int, turned: int, scratch: int
) -> None:
    """Lead ``grad`` in place through dropout and activation, and sum it over the rows."""
    units = row[_UNITS]
    if row[_ACTIVATION] != LINEAR or threshold > 0:
        through(vector(grad, rows * units), vector(space + _BYTES * row[_DERIVATIVE], rows * units))
    vector(turned, 1)[0] = 1
    wide = _BYTES * units
    multiply(1, units, rows, turned, 0, 0, grad, wide, bias_grad, wide, _NOTHING, scratch)


@jit
def _slope(  # noqa: PLR0917 - as above
    row: Table, rows: int, before: int, grad: int, slope: int, turned: int, scratch: int
) -> None:
    """Write the gradient of a weight: the transpose of the layer's input, times ``grad``."""
    inputs, units = row[_INPUTS], row[_UNITS]
    wide, deep = _BYTES * units, _BYTES * inputs
    if units > NARROW:
        multiply(inputs, units, rows, before, side_by_side(), deep, grad, wide, slope, wide, _NOTHING, scratch)
        return
    # The other way round, so that vectors run along the inputs
    multiply(units, inputs, rows, grad, side_by_side(), wide, before, deep, turned, deep, _NOTHING, scratch)
    across, target = matrix(turned, units, inputs), matrix(slope, inputs, units)
    for i in range(inputs):
        for j in range(units):
            target[i, j] = across[j, i]


@jit
def _slopes_of_inputs(row: Table, rows: int, space: int, grad: int, slope: int, scratch: int) -> None:  # noqa: PLR0917 - as above
    """Write the gradients of the weights of all inputs' own layers."""
    width, each = row[_WIDTH], row[_EACH]
    for i in range(row[_INPUTS]):
        multiply(
            width,
            each,
            rows,
            space + _BYTES * (row[_INNER] + i * width),
            side_by_side(),
            _BYTES * row[_INPUTS] * width,
            grad + _BYTES * i * each,
            _BYTES * row[_UNITS],
            slope + _BYTES * i * width * each,
            _BYTES * each,
            _NOTHING,
            scratch,
        )


@jit
def backward(  # noqa: PLR0917 - as above
    table: Table,
    lists: Table,
    x: Floats,
    params: Floats,
    grads: Floats,
    work: Floats,
    lanes: NDArray[np.uint64],
    room: NDArray[np.uint8],
    thresholds: NDArray[np.int64],
    scales: NDArray[np.float64],
    places: NDArray[np.int64],
) -> None:
    """Write the gradients of all parameters of the last `forward`.

    ``places`` are the first layer with parameters, below which no gradient is wanted; a number that is not looked at
    here; and where in ``work`` the gradient by the outputs is, which is overwritten, there is room for another, and
    for the transpose of a layer's weight.
    """
    lowest, grad_at, other_at, turned_at = places[0], places[2], places[3], places[4]
    rows = x.shape[0]
    weights, slopes, space, scratch = address(params), address(grads), address(work), address(room)
    turned, one = space + _BYTES * turned_at, side_by_side()
    for number in range(table.shape[0] - 1, lowest - 1, -1):
        row = integers(table, number * FIELDS, FIELDS)
        inputs, units, which = row[_INPUTS], row[_UNITS], row[_DROPOUT]
        threshold = int(thresholds[which]) if which >= 0 else 0
        here = space + _BYTES * grad_at
        grad = matrix(here, rows, units)
        if row[_KIND] == _DROP:
            if threshold > 0:
                draws = _lanes_of(row, rows, lanes).view(np.uint16)
                drop(grad, draws, threshold, float(scales[which]), grad)
            continue
        if row[_KIND] == _COLUMNS:
            wanted = rows if number > lowest else 0
            _aside(row, lists, x, grad, slopes, matrix(space + _BYTES * other_at, wanted, inputs))
            grad_at, other_at = other_at, grad_at
            continue
        skipped = matrix(space + _BYTES * row[_VALUE], rows, units)  # its output is not needed any more
        if row[_RESIDUAL]:
            _copy(grad, skipped)
        slope = slopes + _BYTES * row[_WEIGHT]
        _undo_response(row, rows, here, slopes + _BYTES * row[_BIAS], space, threshold, turned, scratch)
        if row[_KIND] != _DENSE:
            _slopes_of_inputs(row, rows, space, here, slope, scratch)
            continue
        before = address(x) if number == 0 else space + _BYTES * table[number - 1, _VALUE]
        _slope(row, rows, before, here, slope, turned, scratch)
        if number > lowest:
            wide, deep = _BYTES * units, _BYTES * inputs
            transpose(inputs, units, weights + _BYTES * row[_WEIGHT], wide, turned, deep)
            multiply(
                rows, inputs, units, here, wide, one, turned, deep, space + _BYTES * other_at, deep, _NOTHING, scratch
            )
            grad_at, other_at = other_at, grad_at
            if row[_RESIDUAL]:
                _add(skipped, matrix(space + _BYTES * grad_at, rows, inputs))
