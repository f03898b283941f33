"""What a cell means, told one by one and many at a time."""

from __future__ import annotations

import re

from hypothesis import example, given
from hypothesis import strategies as st

from dropout_service.datasets.cells import PLAIN, CellStyle

CELLS = st.text(alphabet="0123456789+-.eEinftyaN_ \t\x1c²٣", max_size=12)
STYLES = (PLAIN, CellStyle(missing=PLAIN.missing | {"-999", "0"}), CellStyle(decimal=","), CellStyle(numeric=False))


@given(CELLS)
@example("1_0")
@example("-nan")
@example("٣")
@example("+Infinity")
@example("1e5")
@example("\x1c1")
def test_a_number_is_what_the_pattern_says(cell: str):
    matches = re.fullmatch(PLAIN.pattern.removesuffix("$"), cell.strip(), re.ASCII)
    number = PLAIN.number(cell)
    assert (number is not None) == (matches is not None)
    assert number is None or number == float(cell.strip())


@given(st.lists(st.one_of(CELLS, st.sampled_from(["1", "-2.5", "NA", " 3 ", "-999"])), max_size=6))
def test_many_cells_mean_what_each_of_them_does(cells: list[str]):
    for style in STYLES:
        expected = [
            None if style.is_missing(cell) else cell.strip() if style.number(cell) is None else style.number(cell)
            for cell in cells
        ]
        assert style.meanings(cells) == expected
