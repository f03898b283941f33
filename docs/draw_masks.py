"""Draw the noise of every variant of dropout, side by side: ``python docs/draw_masks.py`` writes pictures/masks.svg.

The pictures follow from a seed, so they come out the same byte for byte; a test draws them again and compares.
"""
# ruff: noqa: INP001, T201 - a program beside the pages it draws for

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dropout_service.kernels.variants import VARIANTS, Variant

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

PICTURE = Path(__file__).parent / "pictures" / "masks.svg"

RATE = 0.3
SEED = 149
SHAPE = (3, 4, 8, 8)
SHAPES = {"feature1d": (3, 8, 35), "feature3d": (3, 2, 2, 8, 8), "locked": (3, 8, 35), "dropconnect": (26, 35)}
"""What is dropped from, where a variant wants other axes; each fills the same area of 35 by 26 cells."""
PARAMETERS: dict[str, dict[str, Any]] = {"dropblock": {"block_size": 3}}

CELL, COLUMNS, ROWS, ABREAST = 5, 35, 26, 4
PANEL_WIDTH, PANEL_HEIGHT = COLUMNS * CELL + 20, ROWS * CELL + 44
LEVELS = 15
KEPT, DROPPED = (0x1F, 0x5A, 0x96), (0xE9, 0xED, 0xF2)


def levels(variant: Variant) -> NDArray[np.int64]:
    """Return the noise as levels from 0, dropped, to `LEVELS`, kept whole, for an array of the variant's shape."""
    shape = SHAPES.get(variant.name, SHAPE)
    parameters = PARAMETERS.get(variant.name, {})
    if variant.masked:
        mask = variant.mask(shape, RATE, seed=SEED, **parameters)
        return np.broadcast_to(mask, shape) * LEVELS
    factor = variant.forward(np.ones(shape), RATE, seed=SEED, **parameters)
    return np.rint(np.clip(factor * (1 - RATE), 0, 1) * LEVELS).astype(np.int64)


def tiles(noise: NDArray[np.int64]) -> Iterator[tuple[int, int, NDArray[np.int64]]]:
    """Cut the noise into the planes of its last two axes: samples below one another, channels side by side."""
    *_, height, width = noise.shape
    samples = noise.shape[0] if noise.ndim > 2 else 1  # noqa: PLR2004 - a matrix is one plane
    planes = noise.reshape(samples, -1, height, width)
    for row, sample in enumerate(planes):
        for column, plane in enumerate(sample):
            yield column * (width + 1), row * (height + 1), plane


def colour(level: int) -> str:
    """Return the colour of a level."""
    mixed = (round(low + (high - low) * level / LEVELS) for low, high in zip(DROPPED, KEPT, strict=True))
    return "#" + "".join(f"{one:02x}" for one in mixed)


def runs(plane: NDArray[np.int64], x: int, y: int) -> Iterator[tuple[int, str]]:
    """Yield runs of one level along the rows of a plane, as SVG path data."""
    for row, cells in enumerate(plane.tolist()):
        column = 0
        for level, run in groupby(cells):
            length = len(list(run))
            if level:
                yield level, f"M{x + column} {y + row}h{length}"
            column += length


def panel(variant: Variant) -> Iterator[str]:
    """Yield the elements of one variant's picture."""
    noise = levels(variant)
    shape = " x ".join(str(size) for size in noise.shape)
    yield f'<text y="13" font-weight="bold">{variant.name}</text>'
    yield f'<text y="{ROWS * CELL + 33}" fill="#59636e" font-size="10">{shape}</text>'
    yield f'<g transform="translate(0 20) scale({CELL})">'
    paths: dict[int, list[str]] = {}
    for x, y, plane in tiles(noise):
        height, width = plane.shape
        yield f'<rect x="{x}" y="{y}" width="{width}" height="{height}" fill="{colour(0)}"/>'
        for level, run in runs(plane, x, y):
            paths.setdefault(level, []).append(run)
    for level, drawn in sorted(paths.items()):
        yield f'<path transform="translate(0 .5)" stroke="{colour(level)}" d="{"".join(drawn)}"/>'
    yield "</g>"


def picture() -> str:
    """Return the SVG of all variants."""
    width, height = ABREAST * PANEL_WIDTH + 20, -(-len(VARIANTS) // ABREAST) * PANEL_HEIGHT + 20
    lines = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
            ' font-family="sans-serif" font-size="12" fill="#1f2328" shape-rendering="crispEdges">'
        ),
        f"<title>The noise of every variant of dropout, rate {RATE}, seed {SEED}</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for i, variant in enumerate(VARIANTS.values()):
        place = f"{i % ABREAST * PANEL_WIDTH + 20} {i // ABREAST * PANEL_HEIGHT + 10}"
        lines += [f'<g transform="translate({place})">', *panel(variant), "</g>"]
    return "\n".join([*lines, "</svg>", ""])


def main() -> None:
    """Write the picture."""
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(picture(), encoding="utf-8")
    print(f"{PICTURE.name}: {len(VARIANTS)} variants, {PICTURE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
