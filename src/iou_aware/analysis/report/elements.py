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
    return picture(file.read_bytes(), kind, f"figure-{file.stem}", caption, text)


def picture(content: bytes, kind: str, name: str, caption: str, text: str | None = None) -> str:
    """Return a picture's bytes as a figure; ``name`` is what links lead to, if not empty."""
    source = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    shown = scrolled(f'<img src="{source}" alt="{escape(text or caption)}">')
    place = f' id="{escape(name)}"' if name else ""
    return f"<figure{place}><figcaption>{escape(caption)}</figcaption>{shown}</figure>"


def note(text: str) -> Html:
    """Return one plain sentence, such as that something has not been made yet."""
    return Html(f"<p>{escape(text)}</p>")


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], numeric: Iterable[int] = ()) -> str:
    """Return a table, each row headed by its first cell; the columns ``numeric`` are aligned to the right."""
    numeric = set(numeric)

    def cell(i: int, text: str, tag: str = "td", scope: str = "") -> str:
        style = ' class="number"' if i in numeric else ""
        return f"<{tag}{scope}{style}>{text if isinstance(text, Html) else escape(text)}</{tag}>"

    def line(row: Sequence[str]) -> str:
        first, *rest = row
        return cell(0, first, "th", ' scope="row"') + "".join(cell(i, text) for i, text in enumerate(rest, 1))

    body = "".join(f"<tr>{line(row)}</tr>" for row in rows)
    head = "".join(cell(i, text, "th", ' scope="col"') for i, text in enumerate(heads))
    return scrolled(f'<table class="plain"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>')


def scrolled(content: str) -> str:
    """Return what may be wider than the page in a frame that scrolls, by keyboard as well."""
    return f'<div class="scroll" tabindex="0">{content}</div>'


def items(texts: Iterable[str]) -> str:
    """Return a list of plain texts."""
    return f"<ul>{''.join(f'<li>{escape(text)}</li>' for text in texts)}</ul>"
