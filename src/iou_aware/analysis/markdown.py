"""Tables as GitHub Markdown."""

from collections.abc import Container, Iterable, Sequence


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], right: Container[int] = ()) -> list[str]:
    """Return the lines of a table of cells that are quoted already; the columns ``right`` are aligned to the right."""
    rule = ["---:" if place in right else "---" for place in range(len(heads))]
    return [f"| {' | '.join(cells)} |" for cells in (heads, rule, *rows)]
