"""Write a step of a kernel in LLVM's own terms where Numba's Python has no words for it."""

from __future__ import annotations

from inspect import Parameter, Signature
from typing import TYPE_CHECKING, Any

from numba.extending import intrinsic

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["emits"]


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
