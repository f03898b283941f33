"""Standard dropout: the forward pass, its exact gradient, and the masks of stream version `ALGORITHM`.

Training, ``inverted`` (the default):  y = x * mask / keep_prob;  evaluation: y = x.
Training, ``classic`` (Srivastava et al. 2014):  y = x * mask;  evaluation: y = x * keep_prob.
Backward: grad_input = grad_output * mask * (the same factor).

A dropped element is *selected* to +0.0 whatever x held, so NaN, Inf and signs never leak. The same
``(seed, offset, rate, shape)`` gives the same mask on every machine, dtype and number of threads; docs/mask-stream.md
defines it to the bit.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dropout_service.errors import InvalidInputError
from dropout_service.kernels.arguments import (
    SCALINGS,
    Scaling,
    checked_format,
    checked_mask,
    checked_noise_shape,
    checked_out,
    checked_rate,
    checked_scaling,
    checked_word,
)
from dropout_service.kernels.codegen.compile_cache import warms
from dropout_service.kernels.codegen.keystream import GENERATOR
from dropout_service.kernels.dropout.passes import LEVELS, draw, drop, scale_of, threshold_of
from dropout_service.kernels.runtime.memory import empty_like

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = [
    "ALGORITHM",
    "SCALINGS",
    "Scaling",
    "backward",
    "effective_rate",
    "forward",
    "keep_mask",
    "pack_mask",
    "scale",
    "threshold",
    "unpack_mask",
]

ALGORITHM: Final = f"{GENERATOR}/u16"
"""Version of the mask stream: generator, bits an element, and the mapping of docs/mask-stream.md."""


def threshold(rate: float) -> int:
    """T = round(rate * 65536), ties to even: an element is dropped where its 16-bit draw is below T."""
    return threshold_of(checked_rate(rate))


def effective_rate(rate: float) -> float:
    """Return the probability of dropping that is in force, T / 65536."""
    return threshold(rate) / LEVELS


def scale(
    rate: float,
    scaling: Scaling = "inverted",
    training: bool = True,  # noqa: FBT001, FBT002 - one of the three the factor is a function of
) -> float:
    """Return the factor of kept elements; 0 where every element is dropped.

    Parameters
    ----------
    rate
        Probability of dropping.
    scaling
        ``inverted`` divides by ``keep_prob = 1 - effective_rate`` in training; ``classic`` multiplies by it in
        evaluation.
    training
        Whether the pass is one of training.
    """
    return scale_of(threshold(rate), checked_scaling(scaling), training=training)


def forward(
    x: NDArray[Any],
    rate: float,
    *,
    seed: int,
    offset: int = 0,
    scaling: Scaling = "inverted",
    training: bool = True,
    noise_shape: Sequence[int | None] | None = None,
    mask: NDArray[np.bool_] | None = None,
    out: NDArray[Any] | None = None,
    threads: int | None = None,
) -> NDArray[Any]:
    """Apply dropout: y = x * mask * scale, with dropped elements +0.0.

    Parameters
    ----------
    x
        float16, bfloat16, float32 or float64, of any shape and layout.
    rate
        Probability of dropping, 0 to 1; `effective_rate` is what it is rounded to.
    seed, offset
        Unsigned 64-bit integers that address the mask: a seed, and an offset for each draw that is to be independent.
    scaling
        ``inverted`` or ``classic``; see the module.
    training
        False for evaluation: nothing is dropped.
    noise_shape
        Draw the mask on this shape and broadcast it. For each axis 1 or the size of x; None for the size of x.
    mask
        Booleans, True for kept, broadcastable to x: used instead of the stream. ``rate`` still sets the scale.
    out
        Array of x's shape and dtype to write into; it may be x itself.
    threads
        Threads at most; None for the process-wide number. The result does not depend on it.

    Returns
    -------
    ndarray
        y, of x's shape and dtype.

    Raises
    ------
    InvalidInputError
        With a pointer to the argument that is wrong.

    Examples
    --------
    >>> import numpy as np
    >>> forward(np.ones(8), 0.5, seed=42)
    array([2., 2., 0., 2., 0., 0., 0., 0.])
    """
    return _dropped(
        x,
        "/x",
        rate,
        seed=seed,
        offset=offset,
        scaling=scaling,
        training=training,
        noise_shape=noise_shape,
        mask=mask,
        out=out,
        threads=threads,
    )


def backward(
    grad_output: NDArray[Any],
    rate: float,
    *,
    seed: int | None = None,
    offset: int = 0,
    scaling: Scaling = "inverted",
    training: bool = True,
    noise_shape: Sequence[int | None] | None = None,
    mask: NDArray[np.bool_] | None = None,
    out: NDArray[Any] | None = None,
    threads: int | None = None,
) -> NDArray[Any]:
    """Return the gradient of `forward` with respect to x: grad_output * mask * scale, dropped elements +0.0.

    The map is linear with a diagonal matrix, so its gradient is the same map: the mask is drawn again, not stored.

    Parameters
    ----------
    grad_output
        Gradient with respect to y, of y's shape.
    rate, offset, scaling, training, noise_shape, out, threads
        As given to `forward`.
    seed
        As given to `forward`; not needed with a mask.
    mask
        The mask that `forward` used, where it was not drawn from the seed.

    Returns
    -------
    ndarray
        grad_input, of grad_output's shape and dtype.

    Raises
    ------
    InvalidInputError
        With a pointer to the argument that is wrong.
    """
    if seed is None and mask is None:
        message = "backward needs the seed of the forward pass, or its mask"
        raise InvalidInputError.at("/seed", message)
    return _dropped(
        grad_output,
        "/grad_output",
        rate,
        seed=seed or 0,
        offset=offset,
        scaling=scaling,
        training=training,
        noise_shape=noise_shape,
        mask=mask,
        out=out,
        threads=threads,
    )


def keep_mask(
    shape: int | Sequence[int], rate: float, *, seed: int, offset: int = 0, threads: int | None = None
) -> NDArray[np.bool_]:
    """Draw the mask alone, True for kept, in C order over ``shape``.

    Parameters
    ----------
    shape
        Shape of the mask.
    rate, seed, offset, threads
        As in `forward`.
    """
    return draw(shape, threshold(rate), checked_word("/seed", seed), checked_word("/offset", offset), threads)


def pack_mask(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Pack booleans in C order, 8 to a byte, the first in the lowest bit; the last byte is filled up with zeros."""
    return np.packbits(checked_mask(mask).reshape(-1), bitorder="little")


def unpack_mask(packed: NDArray[np.uint8], shape: int | Sequence[int]) -> NDArray[np.bool_]:
    """Undo `pack_mask`.

    Parameters
    ----------
    packed
        Bytes, ``ceil(size / 8)`` of them.
    shape
        Shape of the mask.
    """
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    size = math.prod(sizes)
    if packed.dtype != np.uint8 or packed.ndim != 1 or packed.size != -(-size // 8):
        message = (
            f"a packed mask for shape {list(sizes)} is {-(-size // 8)} bytes in one dimension, "
            f"not {packed.dtype} of shape {list(packed.shape)}"
        )
        raise InvalidInputError.at("/mask", message)
    return np.unpackbits(packed, count=size, bitorder="little").view(np.bool_).reshape(sizes)


def _dropped(
    x: NDArray[Any],
    pointer: str,
    rate: float,
    *,
    seed: int,
    offset: int,
    scaling: Scaling,
    training: bool,
    noise_shape: Sequence[int | None] | None,
    mask: NDArray[np.bool_] | None,
    out: NDArray[Any] | None,
    threads: int | None,
) -> NDArray[Any]:
    x = np.asarray(x)
    format_ = checked_format(x, pointer)
    y = empty_like(x) if out is None else checked_out(out, x, pointer)
    drop(
        format_,
        x,
        y,
        threshold(rate),
        seed=checked_word("/seed", seed),
        offset=checked_word("/offset", offset),
        scaling=checked_scaling(scaling),
        training=training,
        noise_shape=x.shape if noise_shape is None else checked_noise_shape(noise_shape, x.shape),
        mask=None if mask is None else checked_mask(mask, x.shape),
        threads=threads,
    )
    return y


@warms
def _exercise() -> None:
    x = np.ones((2, 65), np.float32)
    forward(x, 0.5, seed=0)
    forward(x, 0.5, seed=0, noise_shape=(2, 1))
    forward(x, 0.5, seed=0, mask=np.ones(65, np.bool_))
