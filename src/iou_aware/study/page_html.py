"""Pieces of HTML that the report is made of."""

import base64
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path


class Html(str):
    """HTML that a notebook shows as such."""

    def _repr_html_(self) -> str:
        return str(self)


def figure(file: Path, caption: str, text: str | None = None) -> str:
    """Return a picture file as a figure that holds it, with its caption and what it shows in words."""
    kind = {".svg": "svg+xml", ".jpg": "jpeg"}[file.suffix]
    source = f"data:image/{kind};base64,{base64.b64encode(file.read_bytes()).decode()}"
    return (
        f'<figure id="{escape(file.stem)}"><figcaption>{escape(caption)}</figcaption>'
        f'<img src="{source}" alt="{escape(text or caption)}"></figure>'
    )


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], numeric: Iterable[int] = ()) -> str:
    """Return a table of plain text; the columns ``numeric`` are aligned to the right."""
    numeric = set(numeric)

    def cells(tag: str, row: Sequence[str]) -> str:
        shown = [(' class="number"' if i in numeric else "", escape(cell)) for i, cell in enumerate(row)]
        return "".join(f"<{tag}{style}>{cell}</{tag}>" for style, cell in shown)

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    head = f"<thead><tr>{cells('th', heads)}</tr></thead>"
    return f'<div class="scroll"><table class="plain">{head}<tbody>{body}</tbody></table></div>'


def items(texts: Iterable[str]) -> str:
    """Return a list of plain texts."""
    return f"<ul>{''.join(f'<li>{escape(text)}</li>' for text in texts)}</ul>"
