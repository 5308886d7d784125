"""What an MMDetection config assigns, read as data: nothing in it is run, and no MMDetection or PyTorch is imported.

Such a config is a Python file of assignments. Their values may be literals, ``dict(key=value)``, sums of such values
and arithmetic of numbers; in a config of the project or of an installed package also names that were assigned before.
"""

import ast
import operator
import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from iou_aware.common.messages import InputError

_ARITHMETIC = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}


def read(file: Path) -> dict[str, Any]:
    """Return the assignments of a config over those of its bases, dicts merged key by key, as MMEngine does it.

    Raises:
        InputError: The file, or one of its bases, is missing or holds anything else, or two bases assign the same.
    """
    own = _assigned(file, may_refer=True)
    content: dict[str, Any] = {}
    for base in _bases(own):
        below = read(place(file, base))
        if both := content.keys() & below.keys():
            raise InputError(f"{file}, _base_: {min(both)!r} is assigned by {base} and by a base before it.")
        content |= below
    own.pop("_base_", None)
    return merged(content, own)


def files(config: Path) -> set[Path]:
    """Return a config and all that it starts from but what installed packages bring; InputError as from ``read``.

    Paths are built as text: links are left alone, and the working directory is not written into them.
    """
    local = (base for base in _bases(_assigned(config, may_refer=True)) if "::" not in base)
    return {config}.union(*(files(Path(os.path.normpath(config.parent / base))) for base in local))


def literals(file: Path) -> dict[str, Any]:
    """Return the assignments of a config of unknown origin, which may refer to no base and to no other name.

    Raises:
        InputError: The file is missing, or holds anything else.
    """
    return _assigned(file, may_refer=False)


def place(file: Path, name: str) -> Path:
    """Return where a file lies that ``file`` names: ``mmdet::retinanet/a.py`` in a package, ``../a.py`` beside it.

    Raises:
        InputError: The package is not installed.
    """
    package, installed, inside = name.partition("::")
    if not installed:
        return file.parent / name
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise InputError(f"{file}: it names {name}, but {package} is not installed; see CONTRIBUTING.md.")
    return Path(spec.submodule_search_locations[0]) / ".mim" / "configs" / inside


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``above`` over ``below``; a dict that says ``_delete_`` takes the place of what was below."""
    result = dict(below)
    for key, value in above.items():
        if isinstance(value, dict) and key in below:
            value = dict(value)
            replaces = value.pop("_delete_", False) or not isinstance(below[key], dict)
            value = value if replaces else merged(below[key], value)
        result[key] = value
    return result


def _bases(own: Mapping[str, Any]) -> list[str]:
    named = own.get("_base_", [])
    return [named] if isinstance(named, str) else list(named)


def _assigned(file: Path, may_refer: bool) -> dict[str, Any]:
    line, content = 1, {}
    try:
        for statement in ast.parse(file.read_bytes()).body:
            line = statement.lineno
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                continue  # a docstring
            (target,) = statement.targets
            content[target.id] = _value(statement.value, content if may_refer else {})
    except OSError as fault:
        raise InputError(f"{file}: cannot be read ({fault}); expected a config.") from fault
    except Exception as fault:  # Python's parser and operators raise whatever they meet: SyntaxError, KeyError, ...
        raise InputError(
            f"{file}, line {getattr(fault, 'lineno', None) or line}: cannot be read as a config ({fault}); expected "
            "NAME = VALUE and nothing else, of literals and dict(key=value); nothing in it was run."
        ) from fault
    return content


def _value(node: ast.expr, names: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant():
            return node.value
        case ast.Name():
            return names[node.id]
        case ast.List() | ast.Tuple():
            parts = [_value(part, names) for part in node.elts]
            return parts if isinstance(node, ast.List) else tuple(parts)
        case ast.Dict():
            return {_value(key, names): _value(value, names) for key, value in zip(node.keys, node.values, strict=True)}
        case ast.Call(func=ast.Name("dict"), args=[]) if all(part.arg for part in node.keywords):
            return {part.arg: _value(part.value, names) for part in node.keywords}
        case ast.UnaryOp(op=ast.USub()):
            return -_value(node.operand, names)
        case ast.BinOp():
            left, right = _value(node.left, names), _value(node.right, names)
            if not isinstance(node.op, ast.Add) and not all(isinstance(side, (int, float)) for side in (left, right)):
                raise ValueError("arithmetic of something else than numbers")
            return _ARITHMETIC[type(node.op)](left, right)
    raise ValueError(f"found {ast.unparse(node)[:80]!r}")
