"""The mask stream and dropout as docs/mask-stream.md has them, in the slowest and plainest way."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

__all__ = ["draws", "dropout", "keep", "philox"]

WORD = 0xFFFFFFFF


def philox(counter: tuple[Any, Any, Any, Any], key: tuple[Any, Any], rounds: int = 7) -> tuple[Any, Any, Any, Any]:
    """Philox4x32 as the paper has it, on Python integers or arrays of uint64."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(rounds):
        p0, p1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & WORD, (p0 >> 32) ^ c3 ^ k1, p0 & WORD
        k0, k1 = (k0 + 0x9E3779B9) & WORD, (k1 + 0xBB67AE85) & WORD
    return c0, c1, c2, c3


def lanes(group: int, *, seed: int, offset: int) -> list[int]:
    """The sixteen 64-bit lanes of a group."""
    key = (seed & WORD, seed >> 32)
    blocks = [
        philox((block & WORD, block >> 32, offset & WORD, offset >> 32), key)
        for block in range(8 * group, 8 * group + 8)
    ]
    return [w0 << 32 | w1 for w0, w1, _, _ in blocks] + [w2 << 32 | w3 for _, _, w2, w3 in blocks]


def draws(size: int, *, seed: int, offset: int = 0) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The 16-bit draws of elements 0 .. size - 1."""
    flat = [
        lane >> 16 * quarter & 0xFFFF
        for group in range(-(-size // 64))
        for lane in lanes(group, seed=seed, offset=offset)
        for quarter in range(4)
    ]
    return np.array(flat[:size], np.int64)


def keep(shape: tuple[int, ...], rate: float, *, seed: int, offset: int = 0) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """The mask: True where draw >= round(rate * 65536)."""
    limit = round(Fraction(rate) * 65536)
    return (draws(int(np.prod(shape, dtype=np.int64)), seed=seed, offset=offset) >= limit).reshape(shape)


def dropout(x: np.ndarray[Any, Any], mask: np.ndarray[Any, Any], rate: float) -> np.ndarray[Any, Any]:
    """Inverted dropout of float32 or float64 by a mask."""
    factor = x.dtype.type(65536 / (65536 - round(rate * 65536)))
    return np.where(mask, x * factor, x.dtype.type(0))
