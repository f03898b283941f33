"""An interpreter of lowered networks in plain NumPy, float64: what an export is held against."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from dropout_service.nn.ops import Op

__all__ = ["OPERATIONS", "evaluate"]

Array = np.ndarray[Any, Any]

OPERATIONS: dict[str, Callable[..., Array]] = {
    "identity": lambda x: x,
    "matmul": np.matmul,
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "offset": lambda x, by: x + by,
    "row_mean": lambda x: x.mean(axis=1, keepdims=True),
    "scale": lambda x, by: x * by,
    "repeat": lambda x, times: np.repeat(x, times, axis=1),
    "products": lambda x, w: np.concatenate(
        [part @ one for part, one in zip(np.split(x, len(w), axis=1), w, strict=True)], axis=1
    ),
    "interleave": lambda a, b, groups: np.concatenate(
        [part for pair in zip(np.split(a, groups, axis=1), np.split(b, groups, axis=1), strict=True) for part in pair],
        axis=1,
    ),
    "select": lambda x, columns: x[:, columns],
    "look_up": lambda x, w, columns, offsets: np.concatenate(
        [w[offset + x[:, column].astype(int)] for column, offset in zip(columns, offsets, strict=True)], axis=1
    ),
    "concatenate": lambda *parts: np.concatenate(parts, axis=1),
    "larger": np.maximum,
    "smaller": np.minimum,
    "sin": np.sin,
    "cos": np.cos,
    "exp": np.exp,
    "sqrt": np.sqrt,
    "maximum": lambda x, bound: np.where(x > bound, x, bound),
    "column": lambda x, index: x[:, index],
    "sort": lambda x, groups: np.sort(x.reshape(len(x), groups, -1), axis=2).reshape(x.shape),
    "softmax": lambda x: np.exp(x) / np.exp(x).sum(axis=1, keepdims=True),
    "complement": lambda x: np.concatenate([1 - x, x], axis=1),
    "relu": lambda x: np.where(x > 0, x, 0.0),
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "gelu": lambda x: x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "selu": lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x)),
}


def evaluate(ops: Iterable[Op], values: Mapping[str, Array]) -> dict[str, Array]:
    """Return all values by name: those given, and those that the operations compute one after the other."""
    known = {name: np.asarray(value, np.float64) for name, value in values.items()}
    for op in ops:
        known[op.output] = OPERATIONS[op.kind](*(known[name] for name in op.inputs), **op.attributes)
    return known
