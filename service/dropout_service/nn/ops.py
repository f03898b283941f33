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
exp         x                            e^x
sqrt        x                            the square root of x
maximum     x                            max(x, ``bound``)
column      x (rows, k)                  column ``index``, (rows,)
softmax     x (rows, k)                  e^x over its sum in the row
complement  x (rows, 1)                  (1 - x, x), (rows, 2)
=========== ============================ ============================

The names of ``ACTIVATIONS`` are operations as well. Each is an operator of ONNX or a short composition of some.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Op"]


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
    attributes: Mapping[str, float] = field(default_factory=dict[str, float])
