"""The board from which the threads of `parallel` claim their work: compiled code that takes no GIL.

A board is a few integers that its threads read and write atomically. It holds one job at a time: a kernel with its
arguments, and a range that is cut into chunks. The caller claims chunks from the first on and helpers from the last one
back, so that each core has most of its part in its own cache when the same arrays come again. A claim takes one from
the count of chunks left; whoever finds none is done, and the caller leaves when no helper is at work any more.
"""

from __future__ import annotations

from typing import Any, Final

from llvmlite import ir
from numba import types
from numba.core import cgutils

from dropout_service.kernels.codegen.compile_cache import jit
from dropout_service.kernels.codegen.intrinsics import emits

__all__ = ["BOARD_BYTES", "do", "help_out"]

# Places on the board, in bytes. Those that several threads write have a cache line each.
_TAKEN: Final = 0
"""1 while a caller has the board."""
_LEFT: Final = 64
"""Chunks that nobody has claimed. Above 0, and only then, a job is on offer and its description is complete."""
_HELPING: Final = 128
"""Helpers that may be reading the description or working."""
_FRONT: Final = 192
_BACK: Final = 256
_KERNEL: Final = 320
_ARGUMENTS: Final = 328
_SIZE: Final = 336
_CHUNK: Final = 344
_HELPERS: Final = 352
BOARD_BYTES: Final = 384
"""Size of a board; it begins as zeros."""

_SPINS: Final = 2000
"""How often a caller looks for the end of its helpers' last chunks before it naps between looks: some 50 us."""
_NAP_US: Final = 50

_I32: Final = ir.IntType(32)
_I64: Final = ir.IntType(64)
_BYTES: Final = types.Bytes(types.uint8, 1, "C", readonly=True)


@emits(types.int64(types.int64))
def _load(_context: Any, builder: Any, place: Any) -> Any:
    return builder.load_atomic(builder.inttoptr(place, _I64.as_pointer()), "seq_cst", 8)


@emits(types.int64(types.int64, types.int64))
def _swap(_context: Any, builder: Any, place: Any, value: Any) -> Any:
    """Write a word and return what it was."""
    return builder.atomic_rmw("xchg", builder.inttoptr(place, _I64.as_pointer()), value, "seq_cst")


@emits(types.int64(types.int64, types.int64))
def _add(_context: Any, builder: Any, place: Any, value: Any) -> Any:
    """Add to a word and return what it was."""
    return builder.atomic_rmw("add", builder.inttoptr(place, _I64.as_pointer()), value, "seq_cst")


@emits(types.void(types.int64, types.int64, types.int64, types.int64))
def _call(_context: Any, builder: Any, kernel: Any, arguments: Any, start: Any, stop: Any) -> None:
    function = ir.FunctionType(ir.VoidType(), [_I64] * 3)
    builder.call(builder.inttoptr(kernel, function.as_pointer()), [arguments, start, stop])


@emits(types.int64(_BYTES))
def _address(context: Any, builder: Any, content: Any) -> Any:
    return builder.ptrtoint(context.make_array(_BYTES)(context, builder, content).data, _I64)


@emits(types.void())
def _pause(context: Any, builder: Any) -> None:
    """Tell the CPU that this is a waiting loop, for the sake of its power and of the other thread on the core."""
    if context.codegen().magic_tuple()[0].startswith("x86_64"):
        pause = ir.FunctionType(ir.VoidType(), [])
        builder.call(cgutils.get_or_insert_function(builder.module, pause, "llvm.x86.sse2.pause"), [])


@emits(types.void())
def _nap(_context: Any, builder: Any) -> None:
    sleep = ir.FunctionType(_I32, [_I32])  # POSIX
    builder.call(cgutils.get_or_insert_function(builder.module, sleep, "usleep"), [ir.Constant(_I32, _NAP_US)])


@jit
def _work(board: int, end: int, step: int) -> None:
    """Claim and do chunks from one end of the range until none is left."""
    kernel, arguments = _load(board + _KERNEL), _load(board + _ARGUMENTS)
    size, chunk = _load(board + _SIZE), _load(board + _CHUNK)
    while _add(board + _LEFT, -1) > 0:
        start = _add(board + end, step) * chunk
        _call(kernel, arguments, start, min(start + chunk, size))


@jit
def do(board: int, kernel: int, arguments: bytes, size: int, chunk: int, helpers: int) -> None:  # noqa: PLR0917 - compiled code takes its arguments by position
    """Run a kernel over ``[0, size)`` with up to ``helpers`` helpers; alone where there are none or the board is taken.

    Parameters
    ----------
    board
        Address of the board.
    kernel
        Address of a C function of (address of the arguments, start, stop), all 64-bit integers.
    arguments
        What the kernel reads.
    size, chunk
        Length of the range and of a chunk.
    helpers
        How many helpers may take part.
    """
    address = _address(arguments)
    if helpers == 0 or _swap(board + _TAKEN, 1):
        _call(kernel, address, 0, size)
        return
    chunks = -(-size // chunk)
    _swap(board + _KERNEL, kernel)
    _swap(board + _ARGUMENTS, address)
    _swap(board + _SIZE, size)
    _swap(board + _CHUNK, chunk)
    _swap(board + _HELPERS, helpers)
    _swap(board + _FRONT, 0)
    _swap(board + _BACK, chunks - 1)
    _swap(board + _LEFT, chunks)
    _work(board, _FRONT, 1)
    spins = 0
    while _load(board + _HELPING):
        spins += 1
        if spins < _SPINS:
            _pause()
        else:
            _nap()
    _swap(board + _TAKEN, 0)


@jit
def help_out(board: int, looks: int) -> int:
    """Help with every job that comes, until none has come for so many looks, of some 25 ns; return their number."""
    helped = idle = 0
    while idle < looks:
        idle += 1
        if _load(board + _LEFT) <= 0:
            _pause()
            continue
        # From here on the caller waits for this helper, if chunks are left; if none are, it has read nothing.
        helping = _add(board + _HELPING, 1)
        if _load(board + _LEFT) > 0 and helping < _load(board + _HELPERS):
            _work(board, _BACK, -1)
            helped += 1
            idle = 0
        _add(board + _HELPING, -1)
    return helped
