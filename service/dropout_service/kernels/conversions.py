"""Between 16-bit formats and float32, at the speed of memory: NumPy converts element by element."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from dropout_service.kernels.arguments import checked_format
from dropout_service.kernels.codegen.compile_cache import jit, warms
from dropout_service.kernels.codegen.formats import FORMATS, LANES, emit_narrowed, emit_widened
from dropout_service.kernels.codegen.intrinsics import ROOM_BYTES, copy_bytes, emits, room, unpacks
from dropout_service.kernels.runtime import parallel
from dropout_service.kernels.runtime.memory import address

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["narrow", "widen"]

_CONVERT: Final = Struct("qqqq")
"""Arguments: format of the narrow side, whether to widen, source, target."""
_NARROW: Final = (FORMATS["float16"], FORMATS["bfloat16"])
_GRAIN: Final = 1 << 15

_BITS: Final = ir.VectorType(ir.IntType(16), LANES)
_FLOATS: Final = ir.VectorType(ir.FloatType(), LANES)
_I64: Final = ir.IntType(64)

_unpack_convert = unpacks(_CONVERT)


@emits(types.void(types.int64, types.int64, types.int64, types.int64, types.int64))
def _convert_pieces(_context: Any, builder: Any, *arguments: Any) -> None:
    """Convert ``count`` times 32 elements."""
    format_, widening, source, target, count = arguments
    for code in _NARROW:
        for widens in (False, True):
            chosen = builder.and_(
                builder.icmp_signed("==", format_, ir.Constant(_I64, code)),
                builder.icmp_signed("==", widening, ir.Constant(_I64, int(widens))),
            )
            read, written, emit = (_BITS, _FLOATS, emit_widened) if widens else (_FLOATS, _BITS, emit_narrowed)
            with builder.if_then(chosen), cgutils.for_range(builder, count) as loop:
                begin = builder.mul(loop.index, ir.Constant(_I64, LANES))
                origin = builder.gep(builder.inttoptr(source, read.element.as_pointer()), [begin])
                place = builder.gep(builder.inttoptr(target, written.element.as_pointer()), [begin])
                value = builder.load(builder.bitcast(origin, read.as_pointer()), align=1)
                builder.store(emit(builder, code, value), builder.bitcast(place, written.as_pointer()), align=1)


@jit
def _convert(arguments: int, start: int, stop: int) -> None:
    """Convert elements ``start .. stop - 1``."""
    format_, widening, source, target = _unpack_convert(arguments)
    read_bytes, written_bytes = (2, 4) if widening else (4, 2)
    source += start * read_bytes
    target += start * written_bytes
    count = (stop - start) // LANES
    _convert_pieces(format_, widening, source, target, count)
    rest = stop - start - count * LANES
    if rest:
        place = room()
        other = place + ROOM_BYTES // 2
        copy_bytes(place, source + count * LANES * read_bytes, rest * read_bytes)
        _convert_pieces(format_, widening, place, other, 1)
        copy_bytes(target + count * LANES * written_bytes, other, rest * written_bytes)


def widen(x: NDArray[Any], *, threads: int | None = None) -> NDArray[np.float32]:
    """Return float16 or bfloat16 numbers, C-contiguous, as float32.

    Parameters
    ----------
    x
        The numbers.
    threads
        Threads at most; None for the process-wide number.
    """
    y = np.empty(x.shape, np.float32)
    _run(checked_format(x, "/x"), x, y, widening=True, threads=threads)
    return y


def narrow(x: NDArray[np.float32], out: NDArray[Any], *, threads: int | None = None) -> None:
    """Write float32 numbers, C-contiguous, as float16 or bfloat16, rounded to nearest even.

    Parameters
    ----------
    x
        The numbers.
    out
        C-contiguous array of x's size to write into.
    threads
        As in `widen`.
    """
    _run(checked_format(out, "/out"), x, out, widening=False, threads=threads)


def _run(format_: int, x: NDArray[Any], y: NDArray[Any], *, widening: bool, threads: int | None) -> None:
    arguments = _CONVERT.pack(format_, widening, address(x), address(y))
    parallel.run(_convert, arguments, x.size, grain=_GRAIN, threads=threads)


@warms
def _exercise() -> None:
    widen(np.zeros(1, np.float16))
