"""Arrays in place, as lists: checked at the speed of C; only the first fault is reported.

Element by element, a schema takes a kilobyte for each fault, and a copy of what is right.
"""

from __future__ import annotations

import math
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

from pydantic import Field, WrapValidator

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import ValidatorFunctionWrapHandler

__all__ = ["Matrix", "Vector"]

_NUMBERS: Final = frozenset({int, float})


def _is_finite(values: Iterable[Any]) -> bool:
    try:
        return all(map(math.isfinite, values))
    except OverflowError:  # an integer that no float can hold
        return False


def _is_matrix(value: Any) -> bool:
    if type(value) is not list or not {list}.issuperset(map(type, cast("list[Any]", value))):
        return False
    rows = cast("list[list[Any]]", value)
    return _NUMBERS.issuperset(map(type, chain.from_iterable(rows))) and _is_finite(chain.from_iterable(rows))


def _is_vector(value: Any) -> bool:
    if type(value) is not list:
        return False
    kinds = set(map(type, cast("list[Any]", value)))
    return kinds <= {str} or (kinds <= _NUMBERS and _is_finite(cast("list[Any]", value)))


def _matrix(value: Any, tell: ValidatorFunctionWrapHandler) -> Any:
    return value if _is_matrix(value) else tell(value)


def _vector(value: Any, tell: ValidatorFunctionWrapHandler) -> Any:
    return value if _is_vector(value) else tell(value)


_Floats = Annotated[list[float], Field(fail_fast=True)]
_Integers = Annotated[list[int], Field(fail_fast=True)]
_Texts = Annotated[list[str], Field(fail_fast=True)]

Matrix = Annotated[list[_Floats], Field(fail_fast=True), WrapValidator(_matrix)]
"""Rows of finite numbers; whether they have one length is asked where they become an array."""

Vector = Annotated[_Floats | _Integers | _Texts, WrapValidator(_vector)]
"""Finite numbers, or texts."""
