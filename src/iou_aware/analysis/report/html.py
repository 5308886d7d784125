"""HTML from the templates beside this module, as notebooks show it."""

import base64
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from iou_aware.common import templates

_FOLDER = Path(__file__).with_name("templates")
_ELEMENTS: Any = templates.load(_FOLDER / "elements.html.j2").module


class Html(Markup):
    """HTML that notebooks show as such and templates do not escape."""

    _repr_html_ = Markup.__html__


def render(template: str, **values: Any) -> Html:
    """Return the template ``templates/<template>.html.j2`` with these values; text in them is escaped."""
    return Html(templates.load(_FOLDER / f"{template}.html.j2").render(values))


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], numeric: Iterable[int] = ()) -> Html:
    """Return a table, each row headed by its first cell; the columns ``numeric`` are aligned to the right."""
    return Html(_ELEMENTS.table(heads, list(rows), list(numeric)))


def note(text: str) -> Html:
    """Return one plain sentence, such as that something has not been made yet."""
    return Html(_ELEMENTS.note(text))


def figure(content: bytes, kind: str, caption: str, text: str = "", name: str = "") -> Html:
    """Return a picture within the page.

    Args:
        content: The picture's bytes.
        kind: Its format: ``svg+xml`` or ``jpeg``.
        caption: What it shows.
        text: The same in words, for those who do not see it; by default the caption.
        name: Links lead to ``figure-<name>``; empty for none.
    """
    source = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    return Html(_ELEMENTS.figure(source, caption, text, name))
