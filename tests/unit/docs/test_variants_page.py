"""docs/variants.md and its picture are what their programs make of the table of variants today."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from dropout_service.kernels.variants import VARIANTS

DOCS = Path(__file__).parents[3] / "docs"
DRAW = runpy.run_path(str(DOCS / "draw_masks.py"))
DESCRIBE = runpy.run_path(str(DOCS / "describe_variants.py"))
AGAIN = "run docs/draw_masks.py and docs/describe_variants.py, and look at what changed"


def test_the_page_is_what_the_table_says():
    assert DESCRIBE["PAGE"].read_text(encoding="utf-8") == DESCRIBE["page"](), AGAIN


def test_the_picture_is_drawn_again_byte_for_byte():
    assert DRAW["PICTURE"].read_bytes() == DRAW["picture"]().encode(), AGAIN


def test_every_variant_has_a_section_that_the_table_links_to():
    page = DESCRIBE["page"]()
    headings = {DESCRIBE["anchor"](title) for title in re.findall(r"^## (.*)$", page, re.MULTILINE)}
    links = re.findall(r"^\| \[`(\w+)`\]\(#(.*?)\)", page, re.MULTILINE)
    assert [name for name, _ in links] == list(VARIANTS)
    assert {anchor for _, anchor in links} <= headings


def test_every_variant_is_in_the_picture():
    namespace = "{http://www.w3.org/2000/svg}"
    texts = [text.text for text in ET.fromstring(DRAW["picture"]()).iter(f"{namespace}text")]  # noqa: S314 - our own
    assert texts[::2] == list(VARIANTS)


@pytest.mark.parametrize("name", VARIANTS)
def test_what_is_drawn_dark_is_what_is_kept(name: str):
    variant = VARIANTS[name]
    levels = DRAW["levels"](variant)
    assert levels.min() == 0, "nothing dropped: choose another seed"
    assert 0.1 < (levels < DRAW["LEVELS"] / 2).mean() < 0.5
    drawn = np.zeros((DRAW["ROWS"], DRAW["COLUMNS"]), np.int64)
    for x, y, plane in DRAW["tiles"](levels):
        for level, run in DRAW["runs"](plane, x, y):
            column, row, length = map(int, re.fullmatch(r"M(\d+) (\d+)h(\d+)", run).groups())
            drawn[row, column : column + length] = level
    assert drawn.sum() == levels.sum()
