"""What the array functions accept; all else is an `InvalidInputError` that says where and what would be right."""

from __future__ import annotations

import functools
import numbers
import operator
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from dropout_service.errors import InvalidInputError
from dropout_service.kernels.codegen.formats import FORMATS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = [
    "SCALINGS",
    "Scaling",
    "checked_format",
    "checked_mask",
    "checked_noise_shape",
    "checked_out",
    "checked_rate",
    "checked_scaling",
    "checked_word",
]

Scaling = Literal["inverted", "classic"]
_WORD: Final = (1 << 64) - 1
SCALINGS: Final[tuple[Scaling, ...]] = ("inverted", "classic")


def checked_rate(rate: float) -> float:
    """Return the rate as a float in [0, 1]."""
    number = isinstance(rate, float) or (isinstance(rate, numbers.Real) and not isinstance(rate, bool | np.bool_))
    if not number or not 0 <= rate <= 1:
        message = f"rate is the probability of dropping, a number from 0 to 1, not {rate!r}"
        raise InvalidInputError.at("/rate", message)
    return float(rate)


def checked_scaling(scaling: Scaling) -> Scaling:
    """Return the scaling, one of `SCALINGS`."""
    if scaling not in SCALINGS:
        message = f'scaling is "inverted" or "classic", not {scaling!r}'
        raise InvalidInputError.at("/scaling", message)
    return scaling


def checked_word(pointer: str, value: int) -> int:
    """Return the unsigned 64-bit integer."""
    try:
        number = operator.index(value)
    except TypeError:
        number = -1
    if isinstance(value, bool) or not 0 <= number <= _WORD:
        message = f"{pointer.removeprefix('/')} is an unsigned 64-bit integer, not {value!r}"
        raise InvalidInputError.at(pointer, message)
    return number


def checked_format(x: NDArray[Any], pointer: str) -> int:
    """Return the format of an array's elements; see `formats.FORMATS`."""
    format_ = _format_of(x.dtype)
    if format_ is None:
        message = f"dtype {x.dtype.name} is not supported: use one of {', '.join(FORMATS)}"
        raise InvalidInputError.at(pointer, message)
    if not x.dtype.isnative:
        message = f"dtype {x.dtype.str} has a foreign byte order: send {x.dtype.newbyteorder('<').str}"
        raise InvalidInputError.at(pointer, message)
    return format_


@functools.lru_cache(maxsize=64)
def _format_of(dtype: np.dtype[Any]) -> int | None:
    # NumPy puts the name together anew each time, which takes longer than a small kernel.
    return FORMATS.get(dtype.name)


def checked_noise_shape(noise_shape: Sequence[int | None], shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape the mask is drawn on, its Nones filled in."""
    drawn = tuple(noise_shape)
    if len(drawn) == len(shape):
        filled = tuple(full if one is None else one for one, full in zip(drawn, shape, strict=True))
        if all(one in {1, full} for one, full in zip(filled, shape, strict=True)):
            return filled
    message = f"noise_shape has one entry for each axis of {list(shape)}, which is 1 or its size, not {list(drawn)}"
    raise InvalidInputError.at("/noise_shape", message)


def checked_mask(mask: NDArray[np.bool_], shape: tuple[int, ...] | None = None) -> NDArray[np.bool_]:
    """Return the mask, which is boolean and can be broadcast to ``shape``."""
    if mask.dtype != np.bool_:
        message = f"a mask is an array of booleans (True for kept), not {mask.dtype.name}"
        raise InvalidInputError.at("/mask", message)
    if shape is not None:
        own = mask.shape
        trailing = shape[len(shape) - len(own) :]
        if len(own) > len(shape) or any(one not in {1, full} for one, full in zip(own, trailing, strict=True)):
            message = f"a mask of shape {list(own)} cannot be broadcast to the array's shape {list(shape)}"
            raise InvalidInputError.at("/mask", message)
    return mask


def checked_out(out: NDArray[Any], x: NDArray[Any], pointer: str) -> NDArray[Any]:
    """Return the array to write into, of x's shape and dtype."""
    if out.shape != x.shape or out.dtype != x.dtype or not out.flags.writeable:
        message = (
            f"out is a writable {x.dtype.name} array of shape {list(x.shape)} like {pointer.removeprefix('/')}, "
            f"not {'' if out.flags.writeable else 'a read-only '}{out.dtype.name} of shape {list(out.shape)}"
        )
        raise InvalidInputError.at("/out", message)
    return out
