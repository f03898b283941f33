"""Tables that the command line reads: in every form that the service takes as a dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from dropout_client.cli.inputs import InputError, read_features

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "text",
    [
        "a,b,c\n1,2.5,1\n3,-4,0\n",
        "c;b;a\n1;2.5;1\n0;-4;3\n",
        "a\tb\tc\n1\t2.5\ttrue\n3\t-4\tFalse\n",
        " a , b , c \n 1 , 2.5 , TRUE \n\n 3 , -4 , false \n",
        '\ufeff"a","b","c"\r\n"1","2.5","true"\r\n"3","-4","false"\r\n',
        "id,a,b,c\none,1,2.5,1\ntwo,3,-4,0\n",
        'note;a;b;c\n"x, y";1;2.5;1\n"z, w";3;-4;0\n',
    ],
    ids=[
        "commas",
        "semicolons",
        "tabs and truth",
        "spaces and blank lines",
        "quotes",
        "another column",
        "commas within",
    ],
)
def test_each_form_gives_the_same_rows(tmp_path: Path, text: str):
    path = tmp_path / "rows.csv"
    path.write_bytes(text.encode())
    np.testing.assert_array_equal(read_features(path, ["a", "b", "c"]), [[1, 2.5, 1], [3, -4, 0]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the header line lacks a, b"),
        ("a\n1\n", "the header line lacks b; the model needs a, b"),
        ("a,b\n1,2\n3\n", "row 2 has 1 cells where the header has 2"),
        ("a,b\n1,2\n3,maybe\n", "row 2, column b: 'maybe' is not a number"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, text: str, message: str):
    path = tmp_path / "rows.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_features(path, ["a", "b"])
