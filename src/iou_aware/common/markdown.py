"""GitHub Markdown: tables."""

from collections.abc import Container, Iterable, Sequence


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], right: Container[int] = ()) -> str:
    """Return a table; the columns ``right`` are aligned to the right. Of the cells, no more than ``|`` is quoted."""
    rule = ["---:" if place in right else "---" for place in range(len(heads))]
    quoted = ([cell.replace("|", "\\|") for cell in cells] for cells in (heads, rule, *rows))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in quoted)
