"""Jinja templates for HTML, LaTeX, Markdown and plain sentences: one set of rules for all."""

from collections.abc import Callable
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

# In LaTeX, {% and }} mean something else.
_LATEX = {
    "block_start_string": "<%",
    "block_end_string": "%>",
    "variable_start_string": "<<",
    "variable_end_string": ">>",
    "comment_start_string": "<#",
    "comment_end_string": "#>",
}


def load(template: Path, **filters: Callable[[str], str]) -> Template:
    """Return a template, with ``filters`` of its own; it may import others of its folder.

    Its name says what it is for: values in ``.html.j2`` are escaped, ``.tex.j2`` is written with ``<% %>`` and
    ``<< >>``. A line that holds nothing but a block leaves no empty line.
    """
    environment = Environment(
        loader=FileSystemLoader(template.parent),
        undefined=StrictUndefined,
        autoescape=template.name.endswith(".html.j2"),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        **(_LATEX if template.name.endswith(".tex.j2") else {}),
    )
    environment.filters |= filters
    return environment.get_template(template.name)
