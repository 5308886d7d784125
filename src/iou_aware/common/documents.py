"""YAML files that people write: read with their line numbers, held against a schema, faulted by file, line and key.

A plain YAML parser takes the last of two equal keys in silence and forgets where everything stood. Here a duplicate is
an error and every key keeps its line, so that later checks can say where a fault is.
"""

import difflib
import math
import re
import sys
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import SafeConstructor
from yaml.resolver import Resolver

from iou_aware.common.files import require_regular
from iou_aware.common.messages import InputError

Key = tuple[str | int, ...]

# Names of datasets, splits, tables and so on, which become parts of paths and words on command lines. In the schemas it
# is the format `name`.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
NAME_IN_WORDS = "a name of letters, digits, '-' and '_' that starts with a letter or digit"

# The most names that an error lists; a grid of runs can have hundreds.
MOST_LISTED = 16

# Words for a schema's types; where it allows several, its description names them.
_KINDS = {"array": " a list", "object": " a mapping", "string": " text", "integer": " a whole number"}

# Limits that only a hostile file exceeds: bytes, values with aliases expanded, and depth of nesting, for which the
# parser's stack is good for some thousands.
_MOST_BYTES, _MOST_VALUES, _DEEPEST = 4 << 20, 100_000, 50
_NESTED = "lists or mappings within each other"
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Document:
    """The content of one YAML file, with the line at which each of its keys stands.

    Attributes:
        name: what an error message calls the file.
        content: the parsed content.
        lines: the line (from 1) of every key, by its path from the top: ``("tables", "table2", "rows")``.
    """

    name: str
    content: Any
    lines: dict[Key, int]

    def error(self, key: Key, message: str) -> InputError:
        """Return the error to raise about ``key``: ``file, line 7, key tables.table2.rows: message``.

        A key that is not in the file has the line of the nearest one above it that is.
        """
        line = next((self.lines[key[:depth]] for depth in range(len(key), -1, -1) if key[:depth] in self.lines), None)
        place = [self.name, f"line {line}" if line else "", f"key {written(key)}" if key else ""]
        return InputError(f"{', '.join(part for part in place if part)}: {message}")


def read(path: str | Path, schema: str | None = None) -> Document:
    """Read a YAML file; hold it against a schema, if one is named, as ``check`` does.

    Raises:
        InputError: the file is missing or unreadable, is not YAML or exceeds the limits, has the same key twice in one
            mapping, or a value that is no text, number or truth value, such as a date.
    """
    try:
        require_regular(path, _MOST_BYTES)
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError as fault:
        known = sorted(str(other) for other in Path(path).parent.glob(f"*{Path(path).suffix}"))
        raise InputError(f"{path}: there is no such file; expected {one_of(known, path)}") from fault
    except (OSError, UnicodeDecodeError) as fault:
        raise InputError(f"{path}: cannot be read as UTF-8 text ({fault}). Check the name of the file.") from fault
    document = Document(str(path), None, {})
    try:
        _refuse_deep(text)
        node = yaml.compose(text, _Loader)
        if node is not None:
            document = replace(document, content=_construct(SafeConstructor(), node, (), document))
    except yaml.YAMLError as fault:
        mark, problem = getattr(fault, "problem_mark", None), getattr(fault, "problem", fault)
        line = f", line {mark.line + 1}" if mark else ""
        raise InputError(f"{path}{line}: this is not valid YAML: {problem}. Correct it there.") from fault
    if schema:
        check(document, schema)
    return document


def scalar(text: str) -> Any:
    """Return the value of an unquoted YAML scalar: text, a number, a truth value or None."""
    tag = Resolver().resolve(yaml.ScalarNode, text, (True, False))
    try:
        return SafeConstructor().construct_object(yaml.ScalarNode(tag, text))
    except ValueError:  # the 45th of a month, or a number of thousands of digits
        return text


def check(document: Document, schema: str) -> None:
    """Hold a document against ``schemas/<schema>.schema.yaml``.

    Raises:
        InputError: naming the first key at fault, what was found there and what was expected.
    """
    validator = _validator(schema)  # first: it keeps jsonschema's import short
    from jsonschema.exceptions import best_match

    faults = [best_match([top]) for top in validator.iter_errors(document.content)]
    if faults:
        # The fault nearest to the top of the file is the one to show: later ones are often its consequences. A missing
        # key comes last: it may be there but misspelt, which shows as an unknown key.
        named = [(fault.validator == "required", *_fault(document, fault)) for fault in faults]
        _, key, message = min(named, key=lambda fault: (fault[0], document.lines.get(fault[1], 0)))
        raise document.error(key, message)


def written(key: Key) -> str:
    """Return a key's path as text: ``runs[2].detector``."""
    text = ""
    for part in key:
        part = part if isinstance(part, int) or part.isprintable() else repr(part)
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def one_of(choices: Iterable[Any], found: Any = None) -> str:
    """Return ``a, b or c.`` to end a sentence with, and a hint where a name is close: `` Did you mean 'b'?``."""
    names = list(dict.fromkeys(str(choice) for choice in choices))
    if len(names) > MOST_LISTED:
        listed = f"{', '.join(names[: MOST_LISTED - 1])} or one of {len(names) - MOST_LISTED + 1} more"
    else:
        listed = " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names) or "nothing: none exists"
    return f"{listed}.{closest(str(found), names)}"


def closest(name: str, known: Iterable[str]) -> str:
    """Return a hint for a mistyped name: `` Did you mean 'x'?``, or the empty string when nothing comes close."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" Did you mean {found[0]!r}?" if found else ""


def names_beside(file: Path) -> list[str]:
    """Return the names of the files in a file's folder that end as it does, without that end; it need not exist."""
    return sorted(other.stem for other in file.parent.glob(f"*{file.suffix}"))


def require(document: Document, key: Key, found: Any, choices: Collection[str], what: str) -> None:
    """Raise InputError unless ``found`` is one of ``choices``; ``what`` says of what kind they are."""
    if found not in choices:
        raise document.error(key, f"unknown {what} {found!r}; expected {one_of(choices, found)}")


def _construct(constructor: SafeConstructor, node: yaml.Node, key: Key, document: Document) -> Any:
    """Turn a node into Python values, noting the line of every key below it in the document."""
    document.lines.setdefault(key, node.start_mark.line + 1)
    if len(document.lines) > _MOST_VALUES:
        raise document.error(key[:1], f"more than {_MOST_VALUES} values, aliases written out; expected fewer")
    if len(key) > _DEEPEST:  # an alias within what it refers to
        raise document.error(key[:1], f"more than {_DEEPEST} {_NESTED}")
    if isinstance(node, yaml.SequenceNode):
        return [_construct(constructor, child, (*key, i), document) for i, child in enumerate(node.value)]
    if not isinstance(node, yaml.MappingNode):
        return _value(constructor, node, key, document)
    mapping: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise InputError(f"{document.name}, line {line}: found a list or a mapping as a key, expected plain text")
        own = str(constructor.construct_object(key_node))
        first = document.lines.get((*key, own))
        document.lines[*key, own] = line
        if own in mapping:
            raise document.error((*key, own), f"this key is written twice, first in line {first}. Remove one.")
        mapping[own] = _construct(constructor, value_node, (*key, own), document)
    return mapping


def _value(constructor: SafeConstructor, node: yaml.Node, key: Key, document: Document) -> Any:
    """Return the value of a scalar node: text, a finite number, a truth value or None; InputError for any other."""
    try:
        value = constructor.construct_object(node)
        if value is None or (isinstance(value, bool | str) and not _CONTROL.search(str(value))):
            return value
        if isinstance(value, int | float) and math.isfinite(value) and abs(value) < 1 << 63:
            return value
        kind = type(value).__name__
    except (ValueError, LookupError, OverflowError, AttributeError) as fault:  # PyYAML's, as for the 45th of a month
        kind = str(fault)
    raise document.error(
        key,
        f"found {_shortened(node.value)} ({kind}), expected printable text, a finite number below 2^63, true, false or "
        "null. Put text in quotes",
    )


def _refuse_deep(text: str) -> None:
    """Raise MarkedYAMLError about YAML that is nested too deep: reading its events needs no stack."""
    depth = 0
    for event in yaml.parse(text, _Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise yaml.MarkedYAMLError(problem=f"more than {_DEEPEST} {_NESTED}", problem_mark=event.start_mark)


@cache
def _validator(name: str) -> Any:
    """Return the validator of a schema, jsonschema's.

    Unlike JSON Schema's own it takes 4.0 for no whole number: in the name of a run it is not the same as 4.
    """
    # jsonschema imports what checks formats that no schema here has, where it is installed; the first takes seconds.
    for module in ("rfc3987_syntax", "rfc3986_validator", "isoduration", "webcolors"):
        sys.modules.setdefault(module, None)  # type: ignore[arg-type]
    from jsonschema import FormatChecker, validators

    schema = yaml.load((files("iou_aware") / "schemas" / f"{name}.schema.yaml").read_text(encoding="utf-8"), _Loader)
    formats = FormatChecker([])
    formats.checks("name")(lambda text: not isinstance(text, str) or NAME.fullmatch(text) is not None)
    plain = validators.validator_for(schema)
    types = plain.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
    return validators.extend(plain, type_checker=types)(schema, format_checker=formats)


def _fault(document: Document, fault: Any) -> tuple[Key, str]:
    """Return the key that a ValidationError of jsonschema is about and what is wrong with it, worded for people."""
    key: Key = tuple(fault.absolute_path)
    expected, found = fault.validator_value, fault.instance
    meaning = " ".join(fault.schema.get("description", fault.message).split())
    kind = _KINDS.get(str(fault.schema.get("type")), "")
    match fault.validator:
        case "additionalProperties":
            known = fault.schema.get("properties", {})
            unknown = next(name for name in found if name not in known)
            return (*key, unknown), f"unknown key; expected {one_of(known, unknown)}"
        case "required":
            missing = next(name for name in expected if name not in found)
            meaning = " ".join(fault.schema["properties"].get(missing, {}).get("description", "").split())
            return key, f"the key {missing!r} is missing. It says: {meaning}"
        case "enum":
            return key, f"found {found!r}, expected {one_of(expected, found)}"
        case "format":
            # Of a key that is no name the library says only in which mapping it stands.
            key = (*key, found) if (*key, found) in document.lines else key
            return key, f"found {_shortened(found)}, expected {NAME_IN_WORDS}: {meaning}"
    return key, f"found {_shortened(found)}, expected{kind}: {meaning}"


def _shortened(found: Any) -> str:
    text = repr(found)
    return text if len(text) <= 80 else f"{text[:80]}..."
