"""Bring the array of a pass into the form that compiled loops read, and back."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dropout_service.kernels import conversions
from dropout_service.kernels.dropout import noise_loops
from dropout_service.kernels.runtime import parallel
from dropout_service.kernels.runtime.memory import address

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from dropout_service.kernels.variants.table import Pass

__all__ = ["copy", "flat", "through", "through_mask"]

_GRAIN: Final = 1 << 15
_NARROW_BYTES: Final = 2


def flat(array: NDArray[Any], threads: int | None) -> NDArray[Any]:
    """Return the elements in C order, aligned, as float32 or float64: the array's own memory where it is so already."""
    if not (array.flags.c_contiguous and array.flags.aligned):
        array = np.require(array, requirements=["C", "A"])
    elements = array.reshape(-1)
    return elements if elements.itemsize > _NARROW_BYTES else conversions.widen(elements, threads=threads)


def through(given: Pass, work: Callable[[NDArray[Any], NDArray[Any]], None]) -> None:
    """Have ``given.out`` written.

    Parameters
    ----------
    given
        The pass.
    work
        Reads its first argument and writes its second, both as of `flat` and either the same memory or disjoint.
    """
    x, out = flat(given.array, given.threads), given.out
    target = out if out.flags.c_contiguous and out.flags.aligned else np.empty(out.shape, out.dtype)
    if out.dtype == x.dtype:
        y = target.reshape(-1)
        if 0 < abs(address(x) - address(y)) < x.nbytes:
            x = x.copy()
        work(x, y)
    else:
        work(x, x)  # a copy of this function's own
        conversions.narrow(x, target, threads=given.threads)
    if target is not out:
        out[...] = target


def copy(given: Pass) -> None:
    """Write the identity."""
    np.copyto(given.out, given.array)


def through_mask(given: Pass, mask: NDArray[np.bool_], numbers: tuple[float, float, float]) -> None:
    """Write x * factor + shift where a mask is set, and one value elsewhere.

    Parameters
    ----------
    given
        The pass.
    mask
        Broadcastable to its array.
    numbers
        Factor, shift, and the value of dropped elements.
    """
    if not given.array.size:  # nor is the mask broadcast: what it is broadcast to has no bound
        return
    shape = given.array.shape
    own = (1,) * (len(shape) - mask.ndim) + mask.shape
    # A flag of the mask holds for all elements of the last axes that it is broadcast along.
    shared = len(shape)
    while shared and own[shared - 1] == 1:
        shared -= 1
    if own[:shared] != shape[:shared]:
        mask = np.broadcast_to(mask.reshape(own[:shared]), shape[:shared])
    flags = np.ascontiguousarray(mask)
    length = math.prod(shape[shared:])

    def work(x: NDArray[Any], y: NDArray[Any]) -> None:
        arguments = noise_loops.AFFINE_BY_MASK.pack(
            x.itemsize, address(x), address(y), *numbers, address(flags), length
        )
        parallel.run(noise_loops.affine_by_mask, arguments, x.size, grain=_GRAIN, threads=given.threads)

    through(given, work)
