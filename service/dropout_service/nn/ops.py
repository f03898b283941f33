"""The operations that layers and heads are lowered to: neutral of any format that a model is exported to.

=========== ============================ ============================
operation   inputs                       output
=========== ============================ ============================
identity    x                            x
matmul      x (rows, k), w (k, units)    x w
add         a, b                         a + b, broadcast
subtract    a, b                         a - b, broadcast
multiply    a, b                         a b, broadcast
divide      a, b                         a / b, broadcast
offset      x                            x + ``by``
row_mean    x (rows, k)                  the mean of each row, (rows, 1)
scale       x                            x times ``by``
repeat      x (rows, k)                  each column ``times`` times, (rows, k times)
products    x (rows, n k), w (n, k, m)   the product of each k columns with one of w, (rows, n m)
interleave  a, b (rows, n k)             k columns of a, k of b, and so on; n is ``groups``
select      x (rows, k)                  the columns ``columns``
look_up     x (rows, k), w (r, m)        row ``offsets`` + x of w for each of ``columns``, side by side
concatenate a, b, ...                    side by side
larger      a, b                         max(a, b), broadcast
smaller     a, b                         min(a, b), broadcast
sin         x                            the sine of x
cos         x                            the cosine of x
exp         x                            e^x
sqrt        x                            the square root of x
maximum     x                            max(x, ``bound``)
column      x (rows, k)                  column ``index``, (rows,)
sort        x (rows, n k)                each k columns of a row in rising order; n is ``groups``
softmax     x (rows, k)                  e^x over its sum in the row
complement  x (rows, 1)                  (1 - x, x), (rows, 2)
=========== ============================ ============================

The names of ``ACTIVATIONS`` are operations as well. Each is an operator of ONNX or a short composition of some.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Op", "within"]


@dataclass(frozen=True, slots=True)
class Op:
    """One operation.

    Parameters
    ----------
    kind
        A name of the table above or of ``ACTIVATIONS``.
    inputs
        Names of values. In a layer ``x`` is its input, and its parameters and buffers have the names that it gives
        them.
    output
        Name of the result; ``y`` is the output of a layer.
    attributes
        Constants, as the table says.
    """

    kind: str
    inputs: tuple[str, ...]
    output: str
    attributes: Mapping[str, float | tuple[int, ...]] = field(default_factory=dict[str, float | tuple[int, ...]])


def within(prefix: str, ops: Iterable[Op], names: Mapping[str, str] = MappingProxyType({})) -> list[Op]:
    """Return operations as part of a whole, where their values have other names.

    Parameters
    ----------
    prefix
        Before all names, with a dot.
    ops
        The operations.
    names
        New names of those that are called something else there.
    """
    return [
        replace(
            op,
            inputs=tuple(names.get(name, f"{prefix}.{name}") for name in op.inputs),
            output=names.get(op.output, f"{prefix}.{op.output}"),
        )
        for op in ops
    ]
