"""The stage ``table``: the paper's rows, labels and columns, with our values beside the paper's, in four formats."""

from pathlib import Path
from typing import Any

from iou_aware.analysis.metrics import load_missing
from iou_aware.analysis.tables.comparison import Compared, Comparisons, compare, of_class
from iou_aware.analysis.tables.content import Content, Line, build
from iou_aware.analysis.tables.html import html
from iou_aware.analysis.tables.latex import latex
from iou_aware.analysis.tables.layout import sheet
from iou_aware.analysis.tables.markdown import markdown
from iou_aware.common.errors import InputError
from iou_aware.common.files import csv_text, write_text
from iou_aware.experiment.experiment import Experiment

_NUMBER = [
    *("ours", "paper", "delta", "low", "high", "lowest", "highest", "verdict", "why"),
    *("gain", "gain_paper", "gain_low", "gain_high", "gain_lowest", "gain_highest", "gain_verdict", "gain_why"),
]


def write_table(experiment: Experiment, name: str) -> list[Path]:
    """Write ``results/<experiment>/tables/<name>`` as csv, md, tex and html, and return the paths.

    The CSV is tidy: one line per row, class (empty for all of them together) and metric, in percent at full precision.
    ``ours`` is the mean over ``n`` of ``seeds`` seeds, ``delta`` ours less the paper's, ``gain`` ours less that of the
    row named in ``baseline``, the same model without the IoU head. ``low`` and ``high`` are the ends of 95 % intervals
    over the images, ``lowest`` and ``highest`` the range over seeds. The others show one decimal.

    Raises:
        InputError: The experiment has no such table, ``metrics.csv``, the paper's table or ``reports/claims.yaml`` is
            malformed, resamples are of other weights, or a row is neither in the paper's table nor marked as an
            addition.
    """
    if name not in experiment.tables:
        raise InputError(
            f"experiment {experiment.name} has no table {name!r}; expected {', '.join(experiment.tables)}."
        )
    table = experiment.tables[name]
    content = build(experiment, table)
    compared = compare(experiment, table, content)
    laid_out = sheet(table, content, compared, experiment.comparison, load_missing(experiment.paths.missing))
    written = []
    for suffix, text in {
        "csv": _csv(name, content, compared),
        "md": markdown(laid_out),
        "tex": latex(laid_out),
        "html": html(laid_out),
    }.items():
        written.append(experiment.paths.table(name, suffix))
        write_text(written[-1], text)
    return written


def _csv(name: str, content: Content, compared: Comparisons) -> str:
    columns = ["table", "row", *content.headings, "kind", "class", "metric", *_NUMBER]
    columns += ["n", "seeds", "rule", "baseline", "runs"]
    rows = []
    for line in content.lines:
        for metric in content.metrics:
            number = compared[line.key][metric] if line.key in compared else None
            cells = {"paper": line.paper.get(metric)} if number is None else _cells(number)
            rows.append({"table": name, "class": "", "metric": metric} | _of_line(line, content) | cells)
    for one, lines in content.classes.items():
        by_key = {line.key: line for line in lines}
        for line in lines:
            for metric in content.metrics:
                cells = _cells(of_class(line, by_key, metric))
                rows.append({"table": name, "class": one, "metric": metric} | _of_line(line, content) | cells)
    return csv_text(columns, rows)


def _of_line(line: Line, content: Content) -> dict[str, Any]:
    """Return the cells that all numbers of a row share."""
    return dict(zip(content.headings, line.labels, strict=True)) | {
        "row": line.key,
        "kind": line.kind,
        "n": len(line.measured),
        "seeds": len(line.runs),
        "rule": line.rule,
        "baseline": line.baseline,
        "runs": " ".join(line.runs),
    }


def _cells(number: Compared) -> dict[str, Any]:
    """Return the cells of one number, by the columns of ``_NUMBER``."""
    cells: dict[str, Any] = {"delta": number.delta}
    for prefix, finding in (("", number.value), ("gain_", number.gain)):
        if finding is None:
            continue
        quantity = finding.quantity
        low, high = (quantity.interval.low, quantity.interval.high) if quantity.interval else (None, None)
        lowest, highest = quantity.span or (None, None)
        cells |= {
            prefix.rstrip("_") or "ours": quantity.value,
            f"{prefix}paper": quantity.paper,
            f"{prefix}low": low,
            f"{prefix}high": high,
            f"{prefix}lowest": lowest,
            f"{prefix}highest": highest,
            f"{prefix}verdict": finding.verdict,
            f"{prefix}why": finding.why,
        }
    return cells
