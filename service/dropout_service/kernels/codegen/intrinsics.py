"""Write a step of a kernel in LLVM's own terms where Numba's Python has no words for it."""

from __future__ import annotations

from inspect import Parameter, Signature
from typing import TYPE_CHECKING, Any, Final

from llvmlite import ir
from numba import types
from numba.core import cgutils, registry
from numba.extending import intrinsic

if TYPE_CHECKING:
    from collections.abc import Callable
    from struct import Struct

__all__ = ["ROOM_BYTES", "copy_bytes", "cpu_has", "emits", "pointer_to", "room", "splat", "unpacks"]

ROOM_BYTES: Final = 512
"""Size of a `room`: a group of any format fits in, and the keys of a stream."""


def cpu_has(feature: str) -> bool:
    """Tell whether the CPU that is compiled for has some instructions, such as ``f16c``; see LLVM's list."""
    context: Any = registry.cpu_target.target_context
    _, _, features = context.codegen().magic_tuple()
    return f"+{feature}" in features.split(",")


def emits(signature: Any) -> Callable[[Callable[..., Any]], Any]:
    """Make ``emit(context, builder, *arguments)`` callable from compiled code.

    Parameters
    ----------
    signature
        Numba's signature of the step: arguments are cast to it. ``emit`` returns the LLVM value of the result, or None
        where the signature's result is void.
    """

    def decorate(emit: Callable[..., Any]) -> Any:
        def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            result = emit(context, builder, *arguments)
            return context.get_dummy_value() if result is None else result

        def step(_typing_context: Any, *_arguments: Any) -> Any:
            return signature, generate

        # Numba binds arguments by what inspect says, and packs those of a starred parameter into a tuple.
        names = ["context", *(f"argument_{i}" for i in range(len(signature.args)))]
        step.__signature__ = Signature([Parameter(name, Parameter.POSITIONAL_ONLY) for name in names])  # pyright: ignore[reportFunctionMemberAccess] - as inspect documents
        step.__name__ = step.__qualname__ = emit.__name__
        return intrinsic(step)

    return decorate


def pointer_to(element: Any) -> Any:
    """Make a step that takes an address as a pointer to Numba's type ``element``."""

    @emits(types.CPointer(element)(types.int64))
    def pointer(context: Any, builder: Any, address: Any) -> Any:
        return builder.inttoptr(address, context.get_value_type(types.CPointer(element)))

    return pointer


def splat(builder: Any, scalar: Any, lanes: int) -> Any:
    """Emit a vector with ``scalar`` in every lane."""
    nothing = ir.Constant(ir.VectorType(scalar.type, lanes), ir.Undefined)
    first = builder.insert_element(nothing, scalar, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes))


_PACKED: Final = {
    "q": (types.int64, ir.IntType(64)),
    "Q": (types.uint64, ir.IntType(64)),
    "d": (types.float64, ir.DoubleType()),
}


def unpacks(layout: Struct) -> Any:
    """Make a step that reads at an address what ``layout.pack`` wrote, and returns the tuple.

    Parameters
    ----------
    layout
        Of 64-bit fields only, so that there is no padding: q, Q and d.
    """
    fields = [_PACKED[code] for code in layout.format]

    @emits(types.Tuple([field for field, _ in fields])(types.int64))
    def unpack(_context: Any, builder: Any, address: Any) -> Any:
        packed = ir.LiteralStructType([field for _, field in fields])
        return builder.load(builder.inttoptr(address, packed.as_pointer()), align=1)

    return unpack


@emits(types.void(types.int64, types.int64, types.int64))
def copy_bytes(_context: Any, builder: Any, target: Any, source: Any, size_bytes: Any) -> None:
    """Copy bytes between addresses."""
    to, origin = (builder.inttoptr(address, ir.IntType(8).as_pointer()) for address in (target, source))
    cgutils.raw_memcpy(builder, to, origin, size_bytes, 1)


@emits(types.int64())
def room(_context: Any, builder: Any) -> Any:
    """Return the address of some room on the stack, which is zeros when the function begins and lasts until it returns.

    An array would not do: nothing holds it once its address is taken, and to ask for memory could fail, which a kernel
    must not.
    """
    kind = ir.ArrayType(ir.IntType(8), ROOM_BYTES)
    with builder.goto_entry_block():
        place = builder.alloca(kind)
        builder.store(ir.Constant(kind, None), place)
    return builder.ptrtoint(place, ir.IntType(64))
