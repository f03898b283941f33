"""Vectors of float32 as wide as the registers, as steps of kernels that are written in LLVM's own terms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from llvmlite import ir
from numba.core import cgutils

from dropout_service.kernels.codegen.intrinsics import cpu_has, splat

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "FLOAT",
    "FLOAT_BYTES",
    "I32",
    "I64",
    "LANES",
    "MASK",
    "VECTOR",
    "WIDE",
    "ZEROS",
    "call_named",
    "lanes_below",
    "load",
    "number",
    "places_of",
    "store",
]

FLOAT_BYTES: Final = 4
WIDE: Final = cpu_has("avx512f")
LANES: Final = 16 if WIDE else 8
I32: Final = ir.IntType(32)
I64: Final = ir.IntType(64)
FLOAT: Final = ir.FloatType()
VECTOR: Final = ir.VectorType(FLOAT, LANES)
MASK: Final = ir.VectorType(ir.IntType(1), LANES)
ZEROS: Final = ir.Constant(VECTOR, [0.0] * LANES)
_LANE_NUMBERS: Final = ir.Constant(ir.VectorType(I32, LANES), list(range(LANES)))


def number(value: int) -> Any:
    """Return a constant of 64 bits."""
    return ir.Constant(I64, value)


def call_named(builder: Any, name: str, result: Any, arguments: Sequence[Any]) -> Any:
    """Call a function of LLVM by its name."""
    kind = ir.FunctionType(result, [one.type for one in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


def lanes_below(builder: Any, count: Any) -> Any:
    """Return which lanes have a number below ``count``."""
    return builder.icmp_signed("<", _LANE_NUMBERS, splat(builder, builder.trunc(count, I32), LANES))


def load(builder: Any, address: Any, mask: Any) -> Any:
    """Load a vector; what a mask leaves out is not read, and 0."""
    place = builder.inttoptr(address, VECTOR.as_pointer())
    if mask is None:
        return builder.load(place, align=FLOAT_BYTES)
    name = f"llvm.masked.load.v{LANES}f32.p0v{LANES}f32"
    return call_named(builder, name, VECTOR, [place, ir.Constant(I32, FLOAT_BYTES), mask, ZEROS])


def store(builder: Any, value: Any, address: Any, mask: Any) -> None:
    """Store a vector; what a mask leaves out is not written."""
    place = builder.inttoptr(address, VECTOR.as_pointer())
    if mask is None:
        builder.store(value, place, align=FLOAT_BYTES)
        return
    name = f"llvm.masked.store.v{LANES}f32.p0v{LANES}f32"
    call_named(builder, name, ir.VoidType(), [value, place, ir.Constant(I32, FLOAT_BYTES), mask])


def places_of(builder: Any, address: Any, count: int) -> list[Any]:
    """Return the addresses of so many vectors side by side."""
    return [builder.add(address, number(i * LANES * FLOAT_BYTES)) for i in range(count)]
