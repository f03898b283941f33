"""The shape of the tree: what STYLE and the ADRs promise about every file."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = (ROOT / "service" / "dropout_service", ROOT / "clients" / "python" / "src" / "dropout_client")
MODULES = sorted(path for package in PACKAGES for path in package.rglob("*.py"))
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "handler", "base_service"}


def module_id(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("path", MODULES, ids=module_id)
def test_module_says_what_it_is_for(path: Path):
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), "a module begins with a docstring"


@pytest.mark.parametrize("path", MODULES, ids=module_id)
def test_module_is_one_concept(path: Path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400, "split the module along a concept"
    assert path.stem not in VAGUE_NAMES, "name the concept"


@pytest.mark.parametrize("path", MODULES, ids=module_id)
def test_nothing_of_a_user_is_pickled(path: Path):
    if path.name == "compile_cache.py":
        return  # compiled kernels of our own, which Numba can only give and take as pickles
    assert imported(path).isdisjoint({"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"})


def test_numeric_layers_draw_only_from_counter_based_streams():
    numeric = [p for p in MODULES if {"kernels", "nn", "training"} & set(p.parts)]
    assert numeric
    offenders = [
        module_id(p) for p in numeric if "random" in imported(p) or "np.random" in p.read_text(encoding="utf-8")
    ]
    assert offenders == []


def test_client_shares_no_code_with_the_service():
    offenders = [module_id(p) for p in MODULES if "dropout_client" in p.parts and "dropout_service" in imported(p)]
    assert offenders == []


def test_imports_go_downward_only():
    lint_imports = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint_imports, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
