"""Test the tests: change a module at random places, one at a time, and see whether its tests notice.

    python tools/mutate.py --mutants 20 --seed 0 src/iou_aware/method/confidence.py tests/method/test_confidence.py

A mutant has one comparison, operator, boolean or number changed. It lives in a copy of `src`; the working tree is never
touched. What survives is printed with its line: either a test is missing, or the mutant computes the same.
"""

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SWAPS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Add: ast.Sub, ast.Sub: ast.Add,
    ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div, ast.Mod: ast.Mult, ast.Pow: ast.Mult,
    ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip


def mutations(tree: ast.Module) -> Iterator[tuple[int, str, ast.AST, str, object]]:
    """Yield line, description, node, attribute and new value of every mutation of a module."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.BinOp, ast.BoolOp, ast.AugAssign)) and type(node.op) in SWAPS:
            new = SWAPS[type(node.op)]()
            yield node.lineno, f"{type(node.op).__name__} -> {type(new).__name__}", node, "op", new
        elif isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
            new = SWAPS[type(node.ops[0])]()
            yield (
                node.lineno,
                f"{type(node.ops[0]).__name__} -> {type(new).__name__}",
                node,
                "ops",
                [new, *node.ops[1:]],
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, (bool, int, float)):
            new = not node.value if isinstance(node.value, bool) else node.value + 1
            yield node.lineno, f"{node.value!r} -> {new!r}", node, "value", new


def survives(module: Path, text: str, tests: list[str]) -> bool:
    """Return whether the tests pass with the module's text replaced."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "src"
        shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        (source / module.relative_to(ROOT / "src")).write_text(text, encoding="utf-8")
        path = os.pathsep.join([str(source), os.environ.get("PYTHONPATH", "")])
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-m", "not e2e", *tests]
        environment = os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        try:
            done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False, timeout=600)
        except subprocess.TimeoutExpired:  # an endless loop is noticed as well
            return False
    return done.returncode == 0


def main() -> None:
    """Mutate one module and print what survives."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("module", type=Path)
    parser.add_argument("tests", nargs="+")
    parser.add_argument("--mutants", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    module = options.module.resolve()
    text = module.read_text(encoding="utf-8")
    if not survives(module, text, options.tests):
        sys.exit("The tests fail on the module as it is.")
    tree = ast.parse(text)
    everything = list(mutations(tree))
    chosen = random.Random(options.seed).sample(everything, min(options.mutants, len(everything)))
    survivors = []
    for line, what, node, attribute, new in chosen:
        old = getattr(node, attribute)
        setattr(node, attribute, new)
        if survives(module, ast.unparse(ast.fix_missing_locations(tree)), options.tests):
            survivors.append(f"  line {line}: {what}:  {text.splitlines()[line - 1].strip()}")
        setattr(node, attribute, old)
    print(f"{options.module}: {len(chosen) - len(survivors)} of {len(chosen)} mutants killed")
    print("\n".join(survivors))


if __name__ == "__main__":
    main()
