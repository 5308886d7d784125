"""GitHub Markdown: tables, and pages from templates."""

from collections.abc import Container, Iterable, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], right: Container[int] = ()) -> str:
    """Return a table; the columns ``right`` are aligned to the right. Of the cells, no more than ``|`` is quoted."""
    rule = ["---:" if place in right else "---" for place in range(len(heads))]
    quoted = ([cell.replace("|", "\\|") for cell in cells] for cells in (heads, rule, *rows))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in quoted)


def render(template: Path, **values: Any) -> str:
    """Return a page from a Jinja template with these values; ``table`` is at its disposal."""
    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    return environment.from_string(template.read_text(encoding="utf-8"), {"table": table}).render(values)
