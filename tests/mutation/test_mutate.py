"""The mutants are what a mutation test needs: different from the module, from one another, and valid Python."""

from __future__ import annotations

import ast
import runpy
from pathlib import Path

import pytest

MUTATE = runpy.run_path(str(Path(__file__).parent / "mutate.py"))
KERNELS = MUTATE["ROOT"] / MUTATE["KERNELS"]

SOURCE = '''
"""Not code: 1 < 2."""
from somewhere import jit
LIMIT: int = 8
OTHER = 9
SHARED = 7
__all__ = ["SHARED"]

@jit
def inner(a: "1 + 1"):
    return a < LIMIT

def outer(a, b):
    if a == b or not a:
        raise ValueError(f"{a + b}")
    print(a - b)
'''


def test_every_place_that_is_code_is_changed_once():
    changes = [(mutant.line, mutant.change, mutant.compiled) for mutant in MUTATE["mutants"](SOURCE)]
    assert changes == [
        (4, "8  ->  9", True),
        (5, "9  ->  10", False),
        (6, "7  ->  8", True),
        (11, "a < LIMIT  ->  a <= LIMIT", True),
        (14, "if a == b or not a:  ->  if not (a == b or not a):", False),
        (14, "a == b or not a  ->  a == b and (not a)", False),
        (14, "a == b  ->  a != b", False),
        (14, "not a  ->  a", False),
        (15, "raise ValueError(f'{a + b}')  ->  pass", False),
        (16, "print(a - b)  ->  pass", False),
        (16, "a - b  ->  a + b", False),
    ]


@pytest.mark.parametrize("module", ["dropout/standard.py", "codegen/aes.py", "variants/table.py"])
def test_mutants_of_the_kernels_differ_and_compile(module: str):
    source = (KERNELS / module).read_text(encoding="utf-8")
    made = [mutant.source for mutant in MUTATE["mutants"](source)]
    assert len(made) > 20
    assert len({ast.unparse(ast.parse(source)), *made}) == len(made) + 1
    for mutant in made[::10]:
        compile(mutant, module, "exec")
