"""The stage ``table``: the paper's rows, labels and columns, with our values beside the paper's, in four formats."""

import csv
import io
from pathlib import Path

from iou_aware.errors import InputError
from iou_aware.files import write_text
from iou_aware.study.experiment import Experiment
from iou_aware.study.table_content import Content, Line, build, difference
from iou_aware.study.table_sheet import sheet
from iou_aware.study.table_text import html, latex, markdown


def write_table(experiment: Experiment, name: str) -> list[Path]:
    """Write ``results/<experiment>/tables/<name>`` as csv, md, tex and html, and return the paths.

    The CSV has for every metric M, in percent at full precision, ``M`` (ours, the mean over seeds), ``M_paper``,
    ``M_delta`` (ours - paper), ``M_gain`` and ``M_gain_paper`` (over the row named in ``baseline``, the same model
    without the IoU head). The others show one decimal.

    Raises:
        InputError: The experiment has no such table, ``metrics.csv`` or the paper's table is malformed, or a row is
            neither in the paper's table nor marked as an addition.
    """
    if name not in experiment.tables:
        raise InputError(
            f"experiment {experiment.name} has no table {name!r}; expected {', '.join(experiment.tables)}."
        )
    table = experiment.tables[name]
    content = build(experiment, table)
    laid_out = sheet(experiment, table, content)
    written = []
    for suffix, text in {
        "csv": _csv(content),
        "md": markdown(laid_out),
        "tex": latex(laid_out),
        "html": html(laid_out),
    }.items():
        written.append(experiment.paths.table(name, suffix))
        write_text(written[-1], text)
    return written


def _csv(content: Content) -> str:
    metrics = content.metrics
    suffixes = ["", "_paper", "_delta", "_gain", "_gain_paper"]
    columns = ["row", *(["class"] if content.classes else []), "kind", *content.headings]
    columns += [metric + suffix for metric in metrics for suffix in suffixes]
    columns += ["n", "seeds", "rule", "baseline", "runs"]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    for name, lines in {"": content.lines, **content.classes}.items():
        for line in lines:
            cells = _csv_cells(line, {other.key: other for other in lines}, content)
            writer.writerow(cells | ({"class": name} if content.classes else {}))
    return text.getvalue()


def _csv_cells(line: Line, lines: dict[str, Line], content: Content) -> dict[str, str | float | int | None]:
    base = lines.get(line.baseline)
    cells = {"row": line.key, "kind": line.kind, **dict(zip(content.headings, line.labels, strict=True))}
    for metric in content.metrics:
        cells[metric] = line.values.get(metric)
        cells[f"{metric}_paper"] = line.paper.get(metric)
        cells[f"{metric}_delta"] = difference(line.values, line.paper, metric)
        cells[f"{metric}_gain"] = difference(line.values, base and base.values, metric)
        cells[f"{metric}_gain_paper"] = difference(line.paper, base and base.paper, metric)
    return cells | {
        "n": line.seeds,
        "seeds": len(line.runs),
        "rule": line.rule,
        "baseline": line.baseline,
        "runs": " ".join(line.runs),
    }
