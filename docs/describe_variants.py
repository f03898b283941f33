"""Write docs/variants.md from the table of variants: ``python docs/describe_variants.py``.

A test writes the page again and compares, so it cannot fall behind the table.
"""
# ruff: noqa: INP001, T201 - a program beside the pages it writes

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dropout_service.kernels.variants import VARIANTS, Parameter, Variant

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PAGE = Path(__file__).parent / "variants.md"
LARGEST_WORD = 2**64 - 1

INTRODUCTION = """\
# Variants

<!-- Written by docs/describe_variants.py from the table in service/dropout_service/kernels/variants: change that. -->

All variants are reached in the same way: `"variant": "feature2d"` in a request to `/dropout/forward` and
`/dropout/backward`, with the variant's parameters beside it. `GET /dropout/variants` answers with this table. In each,
a dropped element is selected to +0.0 whatever it held (alpha dropout selects its own constant), the noise follows from
`seed` and `offset` alone, the gradient is exact, and evaluation is the identity unless the scaling is classic.

![The noise of every variant, side by side](pictures/masks.svg)

Rate 0.3, drawn by [draw_masks.py](draw_masks.py). Dark is kept, light is dropped; shades between are noise that is no
mask. An array with four axes is (samples, channels, height, width): samples are below one another, channels side by
side. With three axes, (samples, channels or time, length), each sample is one block. The two slices of depth of a
`feature3d` channel are side by side. Two axes are a matrix of weights.

| variant | drops | parameters of its own |
|---|---|---|
"""


def cell(text: str) -> str:
    """Return a text as it stands in a cell of a table."""
    return text.replace("|", "\\|")


def parameter_table(parameters: Iterable[Parameter]) -> Iterator[str]:
    """Yield the lines of a table of parameters."""
    yield "| parameter | meaning | range | default |"
    yield "|---|---|---|---|"
    for one in parameters:
        default = "" if one.default is None else f"`{str(one.default).lower()}`"
        limits = "from 0 to 2^64 - 1" if one.maximum == LARGEST_WORD else one.range or one.kind
        yield f"| `{one.name}` | {cell(one.description)} | {limits} | {default} |"


def section(variant: Variant) -> Iterator[str]:
    """Yield the lines on one variant."""
    yield f"## {variant.title}"
    yield ""
    yield f"`{variant.name}` drops {variant.drops}."
    yield ""
    yield f"- **Input:** {variant.constraints}."
    yield f"- **Forward:** `{variant.formula}`"
    yield f"- **Backward:** `{variant.gradient}`" + (" (needs x)" if variant.needs_x else "")
    yield f"- **Scaling:** {' or '.join(variant.scalings)}."
    yield f"- **Mask:** {'returned on request, and taken in place of a seed' if variant.masked else 'none'}."
    yield f"- **Paper:** {variant.paper}."
    yield ""
    yield from parameter_table([variant.rate, *variant.parameters])
    yield ""


def page() -> str:
    """Return the whole page."""
    shared = [one for one in VARIANTS["standard"].all_parameters if one not in VARIANTS["standard"].parameters]
    rows = [
        f"| [`{one.name}`](#{anchor(one.title)}) | {cell(one.drops)} | "
        f"{', '.join(f'`{own.name}`' for own in one.parameters) or 'none'} |"
        for one in VARIANTS.values()
    ]
    lines = [*rows, "", "## Parameters that all share", "", *parameter_table(shared), ""]
    for variant in VARIANTS.values():
        lines += section(variant)
    return INTRODUCTION + "\n".join(lines).rstrip() + "\n"


def anchor(title: str) -> str:
    """Return the anchor that a heading has where Markdown is shown on the web."""
    return "".join(one for one in title.lower().replace(" ", "-") if one.isalnum() or one in "-_")


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{PAGE.name}: {len(VARIANTS)} variants")


if __name__ == "__main__":
    main()
