"""The mask stream and dropout as docs/mask-stream.md has them, in the plainest way, with AES of another's making."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

__all__ = ["draws", "dropout", "keep", "keystream", "lanes"]

GROUP_BYTES = 128


def keystream(size: int, *, seed: int, offset: int = 0, first: int = 0) -> bytes:
    """``size`` bytes of the stream, from block ``first`` on."""
    counter = (offset << 64) + first
    cipher = Cipher(AES(seed.to_bytes(16, "big")), CTR(counter.to_bytes(16, "big")))
    return cipher.encryptor().update(bytes(size))


def lanes(group: int, *, seed: int, offset: int) -> list[int]:
    """The sixteen 64-bit lanes of a group."""
    stream = keystream(GROUP_BYTES, seed=seed, offset=offset, first=8 * group)
    return np.frombuffer(stream, "<u8").tolist()


def draws(size: int, *, seed: int, offset: int = 0) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The 16-bit draws of elements 0 .. size - 1."""
    return np.frombuffer(keystream(2 * size, seed=seed, offset=offset), "<u2").astype(np.int64)


def keep(shape: tuple[int, ...], rate: float, *, seed: int, offset: int = 0) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """The mask: True where draw >= round(rate * 65536)."""
    limit = round(Fraction(rate) * 65536)
    return (draws(int(np.prod(shape, dtype=np.int64)), seed=seed, offset=offset) >= limit).reshape(shape)


def dropout(x: np.ndarray[Any, Any], mask: np.ndarray[Any, Any], rate: float) -> np.ndarray[Any, Any]:
    """Inverted dropout of float32 or float64 by a mask."""
    factor = x.dtype.type(65536 / (65536 - round(rate * 65536)))
    return np.where(mask, x * factor, x.dtype.type(0))
