"""Mutations of text files, drawn by a seeded generator: damage of bytes, and odd values and keys in their structure."""

import copy
import json
import random
import re
from collections.abc import Callable
from typing import Any

# Byte order marks, what ends or opens things in JSON, XML and YAML, and what is no text.
_PIECES = (
    *(b"\xef\xbb\xbf", b"\xff\xfe", b"\x00", b"\xff", b"\r", b"\xe4", "\u2028".encode(), b"\t", b"\n"),
    *(b"{", b"}", b"[", b"]", b",", b":", b'"', b"'", b"<", b">", b"</", b"&", b"&a;", b"&#0;", b"<!--", b"<![CDATA["),
    *(b"<!DOCTYPE a [<!ENTITY a 'b'>]>", b"<?xml version='1.0' encoding='utf-16'?>"),
    *(b"*a", b"&a ", b"!!binary ", b"- ", b"#", b"|", b"%", b"---\n", b"0x1F", b"1e999", b"-1"),
    *(b"9" * 30, b"NaN", b"null", b"2024-01-01", b"[" * 3000),
)
_VALUES: tuple[Any, ...] = (
    *(None, True, False, "", "0", "7", "x", "a\0b", "../a", "/etc/passwd", "\ud800", "a\nb", [], {}, [1], {"id": 1}),
    *(-1, 0, 1, 2, 1.5, -0.0, 1e308, 2**31, 2**53 + 1, 2**63, 10**40, float("nan"), float("inf"), [[]], [None] * 4),
)


_WORDS = re.compile(rb"[A-Za-z]\w+")


def damaged(content: bytes, draw: random.Random) -> bytes:
    """Return bytes with some cut off, left out, repeated, exchanged or put in, in one to three places."""
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        size = len(content)
        start = draw.randrange(size + 1)
        end = min(size, start + draw.choice((1, 1, 2, 5, 20, 100)))
        kind = draw.choice(("cut", "left out", "repeated", "exchanged", "put in", "put in", "bits", "lines", "tags"))
        if kind == "cut":
            content = content[:start]
        elif kind == "left out":
            content = content[:start] + content[end:]
        elif kind == "repeated":
            content = content[:end] + content[start:]
        elif kind == "exchanged":
            content = content[:start] + content[start:end][::-1] + content[end:]
        elif kind == "put in":
            content = content[:start] + draw.choice(_PIECES) + content[start:]
        elif kind == "lines":
            lines = content.splitlines(keepends=True) or [b""]
            here, there = draw.randrange(len(lines)), draw.randrange(len(lines))
            lines[here:here] = draw.choice(([], [lines[there]]))
            lines.pop(there)
            content = b"".join(lines)
        elif kind == "tags":
            word = draw.choice(_WORDS.findall(content) or [b"x"])
            other = draw.choice((word.upper(), word + b"s", *_WORDS.findall(content)[:3]))
            content = re.sub(rb"\b%s\b" % word, other, content, count=draw.choice((0, 1, 2)))
        elif start < size:
            content = content[:start] + bytes([content[start] ^ 1 << draw.randrange(8)]) + content[start + 1 :]
    return content


def altered(content: Any, draw: random.Random) -> Any:
    """Return parsed JSON or YAML with values replaced, keys renamed or left out, entries repeated or removed."""
    content = copy.deepcopy(content)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        places = list(_places(content))
        if not places:
            break
        above, key = draw.choice(places)
        kind = draw.choice((*["value"] * 3, "wrapped", "text", "removed", "renamed", "repeated", "elsewhere"))
        if kind == "value":
            above[key] = copy.deepcopy(draw.choice(_VALUES))
        elif kind == "wrapped":
            above[key] = [above[key]] if draw.random() < 0.5 else {"x": above[key]}
        elif kind == "text":
            above[key] = str(above[key])
        elif kind == "removed":
            del above[key]
        elif kind == "elsewhere":
            other, place = draw.choice(places)
            above[key] = copy.deepcopy(other[place])
        elif isinstance(above, list):
            above.insert(key, copy.deepcopy(above[key]))
        else:
            above[draw.choice((key.upper(), key + "s", key[:-1], "x"))] = above.pop(key)
    return content


def mutated(
    content: bytes, draw: random.Random, parsed: Any = None, written: Callable[[Any], str] = json.dumps
) -> bytes:
    """Return a file's bytes damaged, or its content altered and written again where it is given as ``parsed``."""
    if parsed is None or draw.random() < 0.4:
        return damaged(content, draw)
    return written(altered(parsed, draw)).encode("utf-8", "surrogatepass")


def _places(content: Any) -> Any:
    for key in list(content) if isinstance(content, dict) else range(len(content)):
        yield content, key
        if isinstance(content[key], dict | list):
            yield from _places(content[key])
