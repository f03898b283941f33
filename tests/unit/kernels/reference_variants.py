"""The noise of every variant as docs/mask-stream.md and the papers have it, in the slowest and plainest way."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import reference_stream

__all__ = ["concrete", "covering", "dropblock_mask", "example", "gaussian_noise", "noise_shape", "words"]

Array = np.ndarray[Any, Any]

_EXAMPLES: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "feature1d": ((3, 4, 7), {}),
    "feature3d": ((2, 3, 2, 3, 2), {}),
    "dropblock": ((2, 3, 5, 6), {"block_size": 2}),
    "locked": ((2, 3, 4, 5), {"axis": -2}),
    "concrete": ((2, 3, 4, 5), {"temperature": 0.4}),
}


def example(name: str) -> tuple[tuple[int, ...], dict[str, Any]]:
    """Shape and parameters that suit a variant: a shape of four axes and its defaults, unless it needs others."""
    return _EXAMPLES.get(name, ((2, 3, 4, 5), {}))


def noise_shape(name: str, shape: tuple[int, ...], parameters: dict[str, Any]) -> tuple[int, ...]:
    """What shares a draw, for the variants whose noise is a mask of the 16-bit stream."""
    if name in {"feature1d", "feature2d", "feature3d", "feature_alpha"}:
        return shape[:2] + (1,) * (len(shape) - 2)
    if name == "locked":
        axis = parameters.get("axis", 1) % len(shape)
        return tuple(1 if i == axis else size for i, size in enumerate(shape))
    if name == "batchwise":
        return (1, *shape[1:])
    if name == "drop_path":
        return shape[:1] + (1,) * (len(shape) - 1)
    return shape


def words(size: int, *, seed: int, offset: int = 0) -> list[int]:
    """The 32-bit draws of elements 0 .. size - 1."""
    return np.frombuffer(reference_stream.keystream(4 * size, seed=seed, offset=offset), "<u4").tolist()


def gaussian_noise(size: int, *, seed: int, offset: int = 0) -> Array:
    """Box and Muller in float64; elements e and e + 16 of a group of 32 are a pair."""
    draws = words(-(-size // 32) * 32, seed=seed, offset=offset)
    noise = np.empty(len(draws))
    for begin in range(0, len(draws), 32):
        for i in range(begin, begin + 16):
            radius = math.sqrt(-2 * math.log(((draws[i] >> 1) + 0.5) * 2.0**-31))
            bits = draws[i + 16] >> 2
            signed = bits - (1 << 30) if bits >= 1 << 29 else bits
            angle = (signed + 0.5) * 2.0**-30 * math.pi / 2
            pair = (radius * math.cos(angle), radius * math.sin(angle))
            if draws[i + 16] & 1:
                pair = pair[::-1]
            sign = -1 if draws[i + 16] & 2 else 1
            noise[i], noise[i + 16] = sign * pair[0], sign * pair[1]
    return noise[:size]


def dropblock_mask(
    shape: tuple[int, ...], rate: float, block_size: int, *, seed: int, offset: int = 0
) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """DropBlock's mask of (n, c, h, w), with one 32-bit draw for each place where a block fits."""
    n, c, h, w = shape
    rows, columns = h - block_size + 1, w - block_size + 1
    gamma = rate / block_size**2 * (h * w) / (rows * columns) if rate < 1 else 1.0
    draws = words(n * c * rows * columns, seed=seed, offset=offset)
    mask = np.ones(shape, np.bool_)
    for i, draw in enumerate(draws):
        if draw < round(gamma * 2**32):
            sample, channel, row, column = np.unravel_index(i, (n, c, rows, columns))
            mask[sample, channel, row : row + block_size, column : column + block_size] = False
    return mask


def covering(h: int, w: int, block_size: int) -> Array:
    """For each place of a map, how many blocks that fit into the map cover it."""
    counts = np.zeros((h, w), np.int64)
    for row in range(h - block_size + 1):
        for column in range(w - block_size + 1):
            counts[row : row + block_size, column : column + block_size] += 1
    return counts


def concrete(x: Array, rate: float, temperature: float, *, seed: int, offset: int = 0) -> tuple[Array, Array]:
    """y and the derivative of each of its elements by the rate."""
    u = (np.array(words(x.size, seed=seed, offset=offset), np.float64) + 0.5).reshape(x.shape) * 2.0**-32
    v = (np.log(rate) - np.log(1 - rate) + np.log(u) - np.log(1 - u)) / temperature
    z, kept = 1 / (1 + np.exp(-v)), 1 / (1 + np.exp(v))
    slope = z * kept / (temperature * rate * (1 - rate))
    return x * kept / (1 - rate), x * (kept / (1 - rate) ** 2 - slope / (1 - rate))
