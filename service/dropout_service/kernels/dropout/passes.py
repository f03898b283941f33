"""The pass of dropout itself, of arguments that have been checked: which compiled loop does it, on what memory."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from dropout_service.kernels.codegen.formats import STREAMED, UNSCALED
from dropout_service.kernels.dropout import loops
from dropout_service.kernels.runtime import parallel
from dropout_service.kernels.runtime.memory import address

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dropout_service.kernels.arguments import Scaling

__all__ = ["LEVELS", "draw", "drop", "scale_of", "threshold_of"]

_Work = tuple[int, int, int, int, float]
"""What every loop is told: the format and the bytes of an element, where x and y are, the factor."""

LEVELS: Final = 1 << 16
"""Values of a draw: a rate is a threshold of so many levels."""
_GRAIN: Final = 1 << 15
"""Elements below which a second thread costs more than it brings."""
_STREAMING_BYTES: Final = 1 << 24
"""From this size on an output is written past the caches: it would not stay in them, and need not be read first."""


def threshold_of(rate: float) -> int:
    """Return T = round(rate * 65536), ties to even: an element is dropped where its 16-bit draw is below it."""
    return round(rate * LEVELS)


def scale_of(limit: int, scaling: Scaling, *, training: bool) -> float:
    """Return the factor of kept elements, for a threshold; see `dropout.scale`."""
    kept = LEVELS - limit
    if scaling == "inverted":
        if not training:
            return 1.0
        return LEVELS / kept if kept else 0.0
    return 1.0 if training else kept / LEVELS


def drop(
    format_: int,
    x: NDArray[Any],
    y: NDArray[Any],
    limit: int,
    *,
    seed: int,
    offset: int,
    scaling: Scaling,
    training: bool,
    noise_shape: tuple[int, ...],
    mask: NDArray[np.bool_] | None,
    threads: int | None,
) -> None:
    """Write into y what `dropout.forward` returns, or `dropout.backward`.

    Parameters
    ----------
    format_
        One of `formats.FORMATS`, that of x and y.
    x, seed, offset, scaling, training, mask, threads
        As in `dropout.forward`.
    y
        Array of x's shape and dtype; it may be x itself.
    limit
        The threshold; see `dropout.threshold`.
    noise_shape
        The shape the mask is drawn on, all of it numbers.
    """
    if not y.size:  # nor is a mask drawn, which may be large where one axis of x is empty
        return
    factor = scale_of(limit, scaling, training=training)
    if not training:
        mask = None if factor == 1.0 else np.ones((), np.bool_)
        limit = 0
    if factor == 0.0 or (mask is None and limit == LEVELS):
        y[...] = 0
        return
    if mask is None and limit == 0:
        np.copyto(y, x)
        return
    source = x if x.flags.c_contiguous else np.array(x, order="C")
    target = y if y.flags.c_contiguous else np.empty(x.shape, x.dtype)
    place, target_place = address(source), address(target)
    if 0 < abs(place - target_place) < target.nbytes:
        source = source.copy()
        place = address(source)
    work = (UNSCALED[x.itemsize] if factor == 1.0 else format_, x.itemsize, place, target_place, factor)
    if mask is None:
        _drop_by_draws(work, x.shape, noise_shape, (limit, offset, seed), threads)
    else:
        _drop_by_mask(work, x.shape, mask, threads)
    if target is not y:
        np.copyto(y, target)


def draw(shape: int | Sequence[int], limit: int, seed: int, offset: int, threads: int | None) -> NDArray[np.bool_]:
    """Draw a mask alone, True for kept.

    Parameters
    ----------
    shape, seed, offset, threads
        As in `dropout.keep_mask`.
    limit
        The threshold.
    """
    mask = np.empty(shape, np.bool_)
    if limit in {0, LEVELS}:
        mask.fill(limit == 0)
        return mask
    arguments = loops.DRAW_MASK.pack(address(mask), limit, offset, seed)
    parallel.run(loops.draw_mask, arguments, mask.size, grain=_GRAIN, threads=threads)
    return mask


def _drop_by_draws(
    work: _Work, shape: tuple[int, ...], noise_shape: tuple[int, ...], draws: tuple[int, int, int], threads: int | None
) -> None:
    """Drop by what is drawn with a threshold, an offset and a seed."""
    size, drawn = math.prod(shape), math.prod(noise_shape)
    if noise_shape == shape:
        format_, item_bytes, x, y, factor = work
        streaming = format_ in STREAMED and size * item_bytes >= _STREAMING_BYTES and y % item_bytes == 0
        arguments = loops.DROP_BY_STREAM.pack(format_, item_bytes, streaming, x, y, factor, *draws)
        parallel.run(loops.drop_by_stream, arguments, size, grain=_GRAIN, threads=threads)
    elif size < 2 * _GRAIN and drawn <= loops.FLAGS_AT_ONCE:
        axes = _axes(shape, noise_shape)
        arguments = loops.DRAW_AND_DROP.pack(*work, *axes.places, drawn, *draws)
        parallel.run(loops.draw_and_drop, arguments, size, grain=_GRAIN, threads=1)
    else:
        limit, offset, seed = draws
        _drop_by_mask(work, shape, draw(noise_shape, limit, seed, offset, threads), threads)


def _drop_by_mask(work: _Work, shape: tuple[int, ...], mask: NDArray[np.bool_], threads: int | None) -> None:
    flags, axes = np.ascontiguousarray(mask), _axes(shape, mask.shape)
    arguments = loops.DROP_BY_MASK.pack(*work, *axes.places, address(flags))
    parallel.run(loops.drop_by_mask, arguments, math.prod(shape), grain=_GRAIN, threads=threads)


class _Axes(NamedTuple):
    """The axes of an array beside those of its mask.

    Parameters
    ----------
    numbers
        Sizes, and steps in the mask.
    places
        How many axes, and where their sizes and steps are: for `loops.drop_by_mask`.
    """

    numbers: NDArray[np.int64]
    places: tuple[int, int, int]


@functools.lru_cache(maxsize=256)
def _axes(shape: tuple[int, ...], mask_shape: tuple[int, ...]) -> _Axes:
    """Merge neighbouring axes along which the mask behaves alike, so that rows are long."""
    own = (1,) * (len(shape) - len(mask_shape)) + mask_shape
    sizes: list[int] = []
    kept: list[bool] = []
    for size, mask_size in zip(shape, own, strict=True):
        if size == 1:
            continue
        varies = mask_size != 1
        if kept and kept[-1] == varies:
            sizes[-1] *= size
        else:
            sizes.append(size)
            kept.append(varies)
    steps = [0] * len(sizes)
    step = 1
    for axis in range(len(sizes) - 1, -1, -1):
        if kept[axis]:
            steps[axis] = step
            step *= sizes[axis]
    numbers = np.array([sizes or [1], steps or [0]], np.int64)
    return _Axes(numbers, (numbers.shape[1], address(numbers), address(numbers) + numbers.strides[0]))
