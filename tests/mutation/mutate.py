"""Change the kernels in one small place at a time, and see whether their tests notice.

    python tests/mutation/mutate.py [dropout/standard.py arguments.py ...] [--every 1] [--own] [--timeout-s 60]

Works in a copy of the checkout. The tools for this (mutmut, cosmic-ray) either wrap functions, which Numba then cannot
compile, or start an interpreter for each change; here a process that has NumPy, Numba and pytest loaded is forked, and
kernels that the change does not reach come out of the compiled cache. docs/mutation.md has the results.
"""

# ruff: noqa: T201 - a program that prints

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import importlib
import io
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
KERNELS = "service/dropout_service/kernels"
TESTS = "tests/unit/kernels"
TRAINING_TESTS = "tests/unit/nn"

OPERATORS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.Div: ast.Mult,
    ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.BitXor: ast.BitOr, ast.And: ast.Or, ast.Or: ast.And,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
INSTRUCTIONS = {
    "add": "sub", "sub": "add", "and_": "or_", "or_": "and_", "xor": "or_", "shl": "lshr", "lshr": "shl",
    "fmul": "fadd", "fadd": "fmul",
}  # fmt: skip
OWN_TESTS = {
    "arguments": ["standard", "corners"],
    "codegen/aes": ["aes", "keystream"],
    "codegen/formats": ["standard", "conversions", "corners"],
    "codegen/intrinsics": ["aes", "parallel", "gradients"],
    "codegen/noise_math": ["table", "gradients", "statistics"],
    "dropout/block_loops": ["gradients"],
    "dropout/loops": ["standard", "rows", "properties"],
    "dropout/noise_loops": ["table", "gradients", "properties"],
    "dropout/passes": ["standard", "corners", "rows", "parallel"],
    "runtime/board": ["parallel"],
    "training/dense": ["dense", "dropout"],
    "training/optimizer_steps": ["optimizer_steps", "optimizers"],
    "variants/alpha": ["table", "gradients"],
    "variants/concrete": ["table", "gradients"],
    "variants/dropblock": ["table", "properties"],
    "variants/elementwise": ["table", "gradients", "properties"],
    "variants/gaussian": ["table", "gradients"],
    "variants/noise_shapes": ["table", "properties"],
    "variants/parameters": ["table"],
    "variants/table": ["table", "gradients"],
}
"""Tests to begin with, by module: what kills a mutant is most often among them. Otherwise the one of its name."""
TRAINING = "training/"
"""Where the modules are that layers, losses and optimizers are made of: their tests bear on them too."""
COMPILED = {"jit", "emits", "intrinsic"}


@dataclass(frozen=True)
class Mutant:
    """One changed module: where, what became of what, the whole source, and whether compiled code may differ."""

    line: int
    change: str
    source: str
    compiled: bool


def alternatives(node: ast.AST) -> Iterator[Any]:
    """Yield what may stand in place of a node."""
    if isinstance(node, ast.BinOp | ast.BoolOp | ast.AugAssign) and type(node.op) in OPERATORS:
        yield with_fields(node, op=OPERATORS[type(node.op)]())
    if isinstance(node, ast.Compare) and type(node.ops[0]) in OPERATORS:
        yield with_fields(node, ops=[OPERATORS[type(node.ops[0])](), *node.ops[1:]])
    if isinstance(node, ast.UnaryOp):
        yield node.operand
    if isinstance(node, ast.If | ast.IfExp | ast.While):
        yield with_fields(node, test=ast.UnaryOp(ast.Not(), node.test))
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield ast.Constant((not node.value) if isinstance(node.value, bool) else node.value + 1)
    if isinstance(node, ast.Attribute) and node.attr in INSTRUCTIONS and "builder" in ast.unparse(node.value):
        yield with_fields(node, attr=INSTRUCTIONS[node.attr])
    if isinstance(node, ast.Raise) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
        yield ast.Pass()


def with_fields(node: Any, **fields: Any) -> Any:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def places(tree: ast.AST, *, compiled: bool = False) -> Iterator[tuple[ast.AST, str, int | None, ast.AST, bool]]:
    """Yield parent, field, index and node of all that is code: no annotation, message, decorator or ``__all__``."""
    # What the module offers to others may be in their compiled code.
    reached = [node for node in ast.iter_child_nodes(tree) if is_compiled(node) or "__all__" in assigned(node)]
    kernels = "".join(map(ast.unparse, reached))
    for field, value in ast.iter_fields(tree):
        if field in {"annotation", "returns", "decorator_list", "type_params", "bases"}:
            continue
        for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if not isinstance(child, ast.AST) or isinstance(child, ast.JoinedStr | ast.Import | ast.ImportFrom):
                continue
            written = ast.unparse(child)
            if written.startswith(("if TYPE_CHECKING", "__all__", "@warms")):
                continue
            inner = compiled
            if isinstance(tree, ast.Module):
                inner = is_compiled(child) or any(name in kernels for name in assigned(child))
            yield tree, field, index, child, inner
            yield from places(child, compiled=inner)


def is_compiled(node: ast.AST) -> bool:
    """Tell whether a function is compiled, or emits what is."""
    if not isinstance(node, ast.FunctionDef):
        return False
    marks = {getattr(getattr(mark, "func", mark), "id", "") for mark in node.decorator_list}
    return bool(marks & COMPILED) or "builder" in ast.unparse(node)


def assigned(node: ast.AST) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [ast.unparse(target) for target in targets]


def mutants(source: str) -> Iterator[Mutant]:
    """Yield every mutant of a module, in the order of the source."""
    tree = ast.parse(source)
    for parent, field, index, node, compiled in list(places(tree)):
        for other in alternatives(node):
            place(parent, field, index, other)
            before, after = (ast.unparse(one).splitlines()[0] for one in (node, other))
            yield Mutant(getattr(node, "lineno", 0), f"{before}  ->  {after}", changed_source(tree), compiled)
            place(parent, field, index, node)


def changed_source(tree: ast.AST) -> str:
    return ast.unparse(ast.fix_missing_locations(tree))


def place(parent: ast.AST, field: str, index: int | None, node: ast.AST) -> None:
    if index is None:
        setattr(parent, field, node)
    else:
        getattr(parent, field)[index] = node


def run_tests(copy_: Path, files: list[Path], *, compiled: bool) -> None:
    """Run tests in this (forked) process, and end with their status."""
    os.setpgid(0, 0)
    os.chdir(copy_)
    os.environ["DROPOUT_SERVICE_KERNEL_CACHE_DIR"] = str(copy_ / "cache")
    sys.path.insert(0, str(copy_ / "service"))
    os.environ["PYTHONPATH"] = str(copy_ / "service")  # for tests that start interpreters
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            if not compiled:
                from dropout_service.kernels.codegen import compile_cache  # noqa: PLC0415 - the copy's, not the checkout's

                compile_cache._source_digest = lambda: b"no kernel has changed"
            status = pytest.main(["-x", "-q", "-p", "no:cacheprovider", *map(str, files)])
        except BaseException:  # noqa: BLE001 - a module that cannot be imported has been noticed, whatever it raises
            status = 1
    os._exit(int(status))


def verdict(copy_: Path, module: str, timeout_s: float, *, compiled: bool, own_only: bool) -> str:
    """Return "survived", "killed" or "timeout"."""
    subject = module.removesuffix(".py")
    # Tests that start interpreters compile everything anew for each change, and say little of most modules.
    left_out = (
        {"test_compile_cache"}
        if subject in {"runtime/parallel", "runtime/board"}
        else {"test_compile_cache", "test_parallel"}
    )
    files = sorted(copy_.glob(f"{TESTS}/**/test_*.py"))
    if subject.startswith(TRAINING):
        files += sorted(copy_.glob(f"{TRAINING_TESTS}/test_*.py"))
    own = [f"test_{name}" for name in OWN_TESTS.get(subject, [Path(subject).name])]
    first = sorted((path for path in files if path.stem in own), key=lambda path: own.index(path.stem))
    if not first:
        sys.exit(f"{module}: there are no tests to begin with")
    others = [path for path in files if path not in first and path.stem not in left_out]
    for batch in filter(None, [first] if own_only else [first, others]):  # to collect only some saves most of the time
        process = multiprocessing.get_context("fork").Process(
            target=run_tests, args=(copy_, batch), kwargs={"compiled": compiled}
        )
        process.start()
        process.join(timeout_s)
        if process.is_alive():
            os.killpg(process.pid, signal.SIGKILL)  # with what its tests have started
            process.join()
            return "timeout"
        if process.exitcode:
            return "killed"
    return "survived"


def main() -> None:
    parser = argparse.ArgumentParser(description="mutation test of the kernels")
    parser.add_argument("modules", nargs="*", default=["arguments.py", "dropout/standard.py", "streams.py"])
    parser.add_argument("--every", type=int, default=1, help="try every n-th mutant")
    parser.add_argument("--own", action="store_true", help="run the tests to begin with only, not those of all kernels")
    parser.add_argument("--timeout-s", type=float, default=60)
    options = parser.parse_args()
    for heavy in ("numba", "torch"):  # loaded once, for all forks; a test skips where there is no torch
        with contextlib.suppress(ImportError):
            importlib.import_module(heavy)
    with tempfile.TemporaryDirectory() as name:
        copy_ = Path(name)
        for folder in ("service", "tests", "docs"):
            shutil.copytree(ROOT / folder, copy_ / folder)
        shutil.copy(ROOT / "pyproject.toml", copy_)
        for module in options.modules:
            path = copy_ / KERNELS / module
            source = path.read_text(encoding="utf-8")
            chosen = list(mutants(source))[:: options.every]
            for compiled in {mutant.compiled for mutant in chosen}:
                if verdict(copy_, module, 600, compiled=compiled, own_only=options.own) != "survived":
                    sys.exit(f"{module}: the tests fail without any change")
            found: Counter[str] = Counter()
            for mutant in chosen:
                path.write_text(mutant.source, encoding="utf-8")
                outcome = verdict(copy_, module, options.timeout_s, compiled=mutant.compiled, own_only=options.own)
                found[outcome] += 1
                print(f"{outcome:8}  {module}:{mutant.line}  {mutant.change}", flush=True)
            path.write_text(source, encoding="utf-8")
            print(f"{module} mutants {found.total()} {dict(found)}", flush=True)


if __name__ == "__main__":
    main()
