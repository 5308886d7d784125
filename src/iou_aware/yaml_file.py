"""YAML files checked against a JSON schema, with errors that name the file, the line and the key."""

import difflib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from iou_aware.errors import InputError

SCHEMAS = Path(__file__).parent / "schemas"


class _Loader(yaml.SafeLoader):
    """Safe YAML which refuses a key written twice: the second would silently win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} is written twice in one mapping", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def load(path: str | Path, schema: str) -> dict[str, Any]:
    """Read a YAML file and check it against ``schemas/<schema>.schema.yaml``.

    Args:
        path: The YAML file.
        schema: Name of a schema of this package, such as ``dataset``.

    Returns:
        The file's content; nothing is filled in.

    Raises:
        InputError: The file is missing, is not YAML, or breaks the schema. The message names the file, the line, the
            key, what was found and what was expected, and the closest known key for an unknown one.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as UTF-8 text ({error}). Check the name of the file.") from error
    try:
        content = yaml.load(text, Loader=_Loader)
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise InputError(f"{path}{_line_of_error(error)}: this is not valid YAML. Correct it there.") from error
    check(content, schema, path, tree)
    return content


def check(content: Any, schema: str, path: str | Path, tree: yaml.Node | None = None) -> None:
    """Check the content of a configuration file against a schema of this package.

    Args:
        content: What was read.
        schema: Name of the schema, such as ``dataset``.
        path: The file it came from, for the message.
        tree: The YAML nodes of the file, so that the message can name the line.

    Raises:
        InputError: At the first of the errors, by their place in the file.
    """
    errors = sorted(_validator(schema).iter_errors(content), key=lambda error: [str(key) for key in error.path])
    if errors:
        error = jsonschema.exceptions.best_match(errors[:1]) or errors[0]
        raise InputError(_explain(error, path, tree))


@cache
def _validator(schema: str) -> jsonschema.Draft202012Validator:
    content = yaml.safe_load((SCHEMAS / f"{schema}.schema.yaml").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(content)
    return jsonschema.Draft202012Validator(content)


def closest(name: str, known: Iterable[str]) -> str:
    """Return a hint for a mistyped name: `` Did you mean 'x'?``, or the empty string when nothing comes close."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" Did you mean {found[0]!r}?" if found else ""


def _explain(error: jsonschema.ValidationError, path: str | Path, tree: yaml.Node | None) -> str:
    keys = list(error.absolute_path)
    if error.validator == "additionalProperties" and isinstance(error.instance, dict):
        known = error.schema.get("properties", {})
        unknown = next(key for key in error.instance if key not in known)
        place = _place(path, tree, [*keys, unknown])
        return f"{place}: unknown key.{closest(str(unknown), known)} Known here: {', '.join(known)}."
    place = _place(path, tree, keys)
    if error.validator == "required":
        missing = next(key for key in error.validator_value if key not in error.instance)
        return f"{place}: the key {missing!r} is missing.{_meaning(error.schema, missing)}"
    wanted = error.schema.get("description", "")
    hint = ""
    if error.validator == "enum":
        wanted = f"one of {', '.join(map(str, error.validator_value))}"
        hint = closest(str(error.instance), map(str, error.validator_value))
    return f"{place}: found {error.instance!r}, expected {wanted or error.message}.{hint}"


def _meaning(schema: dict[str, Any], key: str) -> str:
    description = schema.get("properties", {}).get(key, {}).get("description")
    return f" It says: {description}" if description else ""


def _place(path: str | Path, tree: yaml.Node | None, keys: list[Any]) -> str:
    line = _line(tree, keys)
    where = f"{path}, line {line}" if line else str(path)
    return f"{where}, key {'.'.join(map(str, keys))}" if keys else where


def _line(node: yaml.Node | None, keys: list[Any]) -> int | None:
    """Follow keys and indices through YAML nodes and return the line of the last one, from 1."""
    line = node.start_mark.line + 1 if node else None
    for key in keys:
        if isinstance(node, yaml.MappingNode):
            pairs = {name.value: (name, value) for name, value in node.value}
            if str(key) not in pairs:
                return line
            name, node = pairs[str(key)]
            line = name.start_mark.line + 1
        elif isinstance(node, yaml.SequenceNode):
            node = node.value[int(key)]
            line = node.start_mark.line + 1
    return line


def _line_of_error(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None)
    return (f", line {mark.line + 1}" if mark else "") + (f": {problem}" if problem else "")
