"""The stage ``table``: the paper's rows, labels and columns, with our values beside the paper's, in four formats."""

from pathlib import Path

from iou_aware.analysis.metrics import load_metrics, load_missing, load_paper, load_per_class
from iou_aware.analysis.tables import layout, notes
from iou_aware.analysis.tables.render import render
from iou_aware.analysis.tables.rows import NOTHING, TableContent, read_content, with_numbers
from iou_aware.analysis.uncertainty.quantity import Measurements
from iou_aware.common.files import csv_text, write_text
from iou_aware.experiment.experiment import Experiment


def write_table(experiment: Experiment, name: str) -> list[Path]:
    """Write ``results/<experiment>/tables/<name>`` as csv, md, tex and html, and return the paths.

    The CSV is tidy: one line per row, class (empty for all of them together) and metric, in percent at full precision;
    ``Number`` has its columns. ``ours`` is the mean over ``n`` of ``seeds`` seeds, and ``baseline`` the row that gains
    are measured over, the same model without the IoU head. The others show one decimal.

    Raises:
        InputError: ``metrics.csv``, the paper's table or ``reports/claims.yaml`` is
            malformed, or resamples are of other weights.
    """
    table, paths, by_size = experiment.tables[name], experiment.paths, experiment.comparison == "values"
    paper = load_paper(paths.paper(table.paper)) if table.paper else None
    per_class = load_per_class(paths.per_class) if table.per_class else None
    content = read_content(table, experiment.runs, paper, load_metrics(paths.metrics), per_class)
    content = with_numbers(content, Measurements(experiment).in_table(table), by_size)
    below = notes.notes_below(table.split, content, by_size, load_missing(paths.missing))
    main = layout.in_columns(table.title, table.caption, content, below)
    title = f"{table.title}, number by number"
    summary = f"{title}. {notes.verdict_counts(content)}".strip()
    single = layout.one_by_one(title, notes.on_columns(content), summary, content, by_size)
    texts = {"csv": _csv(name, content)}
    texts |= {suffix: render(suffix, name, main, single) for suffix in ("md", "tex", "html")}
    for suffix, text in texts.items():
        write_text(paths.table(name, suffix), text)
    return [paths.table(name, suffix) for suffix in texts]


def _csv(name: str, content: TableContent) -> str:
    columns = ["table", "row", *content.headings, "kind", "class", "metric", *NOTHING]
    lines = []
    for one, rows in {"": content.rows, **content.classes}.items():
        for row in rows:
            about = {"table": name, "row": row.key, "kind": row.kind, "class": one, "n": len(row.measured)}
            about |= {"seeds": len(row.runs), "rule": row.rule, "baseline": row.baseline, "runs": " ".join(row.runs)}
            about |= dict(zip(content.headings, row.labels, strict=True))
            lines += [about | {"metric": metric} | number for metric, number in row.numbers.items()]
    return csv_text([*columns, "n", "seeds", "rule", "baseline", "runs"], lines)
