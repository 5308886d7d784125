"""What an MMDetection config assigns, read without importing MMDetection or PyTorch, which takes seconds.

The project's own configs are programs, which are run; the config of a finished run, anybody's, is data.
"""

import ast
import runpy
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from iou_aware.common.errors import InputError


def read(file: Path) -> dict[str, Any]:
    """Return the assignments of a config over those of its bases, dicts merged key by key, as MMEngine does it.

    Raises:
        InputError: The file, or one of its bases, is missing or broken.
    """
    try:
        own = runpy.run_path(str(file))
    except Exception as fault:  # A config file is a program, and may raise whatever it likes.
        raise InputError(f"{file}: cannot be read as a config ({fault}); a run needs it.") from fault
    bases = own.get("_base_", [])
    content: dict[str, Any] = {}
    for base in [bases] if isinstance(bases, str) else bases:
        content |= read(place(file, base))
    return _merged(content, {key: value for key, value in own.items() if not key.startswith("__")})


def literals(file: Path) -> dict[str, Any]:
    """Return what a file assigns whose every statement is ``NAME = LITERAL``; nothing in it is run.

    Raises:
        InputError: The file is missing, or holds anything else.
    """
    line, found = 1, {}
    try:
        for statement in ast.parse(file.read_bytes()).body:
            line = statement.lineno
            (target,) = statement.targets
            found[target.id] = ast.literal_eval(statement.value)
    except OSError as fault:
        raise InputError(f"{file}: cannot be read ({fault}); expected the config of a finished run.") from fault
    except (SyntaxError, AttributeError, TypeError, ValueError, RecursionError, MemoryError) as fault:
        raise InputError(
            f"{file}, line {getattr(fault, 'lineno', None) or line}: expected NAME = LITERAL and nothing else, as "
            "`iou-aware train` writes a run's config; nothing in it was run."
        ) from fault
    return found


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


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``above`` over ``below``; a dict that says ``_delete_`` takes the place of what was below."""
    merged = dict(below)
    for key, value in above.items():
        under = below.get(key)
        together = isinstance(value, dict) and isinstance(under, dict) and not value.get("_delete_")
        merged[key] = _merged(under, value) if together else value
    return merged
