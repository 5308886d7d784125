"""Print how large the code is: code lines, classes, and modules of the fullest folder, of `src` and of `tests`.

A code line has something other than a comment or a docstring on it. `make lint` prints this, so that growth is seen
when it happens.
"""

import ast
import io
import sys
import tokenize
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BLANK = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def code_lines(source: str, tree: ast.Module) -> int:
    """Return how many lines of a module hold code."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in BLANK:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[0] if node.body else None
            if ast.get_docstring(node, clean=False) is not None:
                lines.difference_update(range(first.lineno, first.end_lineno + 1))
    return len(lines)


def measure(folder: Path) -> str:
    """Return one line about all Python files below a folder."""
    lines = classes = 0
    modules: Counter[Path] = Counter()
    for file in sorted(folder.rglob("*.py")):
        source = file.read_text(encoding="utf-8")
        tree = ast.parse(source, str(file))
        lines += code_lines(source, tree)
        classes += sum(isinstance(node, ast.ClassDef) for node in ast.walk(tree))
        if file.name != "__init__.py":
            modules[file.parent] += 1
    fullest, count = modules.most_common(1)[0]
    return (
        f"{folder.relative_to(ROOT)}: {lines:,} code lines, {classes} classes, {sum(modules.values())} modules, "
        f"at most {count} in a folder ({fullest.relative_to(ROOT)})"
    )


if __name__ == "__main__":
    for name in sys.argv[1:] or ("src", "tests"):
        print(measure(ROOT / name))
