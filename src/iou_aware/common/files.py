"""Files that appear whole or not at all: written beside their destination, flushed to disk, then renamed."""

import csv
import hashlib
import io
import json
import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Text that a spreadsheet takes for a formula and not for a number, with any apostrophes already before it.
_FORMULA = re.compile(r"'*(?![+-](\d+\.?\d*|\.\d+)(e[+-]?\d+)?\Z)[=+\-@\t\n].", re.DOTALL | re.IGNORECASE)


@contextmanager
def writing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it to ``path`` when the block ends well, remove it otherwise."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        yield beside
        with beside.open("rb") as written:
            os.fsync(written.fileno())
        beside.replace(path)
        sync_folder(path.parent)
    finally:
        beside.unlink(missing_ok=True)


def require_regular(path: str | Path, most_bytes: float = float("inf")) -> None:
    """Raise OSError unless the path is a regular file of at most ``most_bytes``; a pipe would be waited for."""
    about = Path(path).stat()
    if not stat.S_ISREG(about.st_mode):
        raise OSError("it is no regular file")
    if about.st_size > most_bytes:
        raise OSError(f"it has {about.st_size} bytes, more than {most_bytes}")


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write ``content`` to ``path`` atomically."""
    with writing(path) as beside:
        beside.write_bytes(content)


def write_text(path: str | Path, content: str) -> None:
    """Write ``content`` to ``path`` atomically, in UTF-8; lone surrogates are escaped."""
    write_bytes(path, content.encode(errors="backslashreplace"))


def write_json(path: str | Path, content: Any) -> None:
    """Write ``content`` to ``path`` atomically as strict JSON (a NaN or infinity raises ValueError)."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Return rows as CSV that a spreadsheet can open safely: an apostrophe precedes text that looks like a formula.

    None and missing values are empty cells, truth values ``true`` and ``false``; floats keep every bit.

    Raises:
        ValueError: A row has a column that is not among ``columns``.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _cell(value) for key, value in row.items()} for row in rows)
    return text.getvalue()


def text_of_cell(cell: Any) -> Any:
    """Undo the quoting of ``csv_text`` in one cell; values other than text are returned unchanged."""
    return cell[1:] if isinstance(cell, str) and cell.startswith("'") and _FORMULA.match(cell) else cell


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str):
        return value
    value = value.replace("\r", "\n")  # which Python's csv would not quote
    return f"'{value}" if _FORMULA.match(value) else value


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file's content, as 64 hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_folder(folder: Path) -> None:
    """Flush a rename to disk, so that it survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
